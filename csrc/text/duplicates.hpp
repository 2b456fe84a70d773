// Duplicates: equal hashes and MinHash bands find candidates, the shingle sets themselves decide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/parallel.hpp"

namespace castline::text {

struct DuplicatePair {
  std::uint32_t first = 0;  ///< below second
  std::uint32_t second = 0;
  double jaccard = 0;  ///< of the shingle sets, exact; 1 where the content is the same
};

struct Duplicates {
  /// Sorted. They are a spanning forest of the graph of duplicates: a pair is left out where its two
  /// documents are connected already, so a cluster of n documents gives n - 1 pairs. Identical documents are
  /// paired with the first of them.
  std::vector<DuplicatePair> pairs;
  /// For each document the smallest one of its cluster.
  std::vector<std::uint32_t> clusters;
};

struct DuplicateSearch {
  double threshold = 0.7;  ///< the least Jaccard similarity of a near-duplicate
  bool exact = true;       ///< whether documents with the same content hash are duplicates
  /// Bytes for sorting keys and for shingle sets; it changes the time a search takes, never its result.
  /// Beside it a search keeps about 9 bytes per document, 16 per pair, and the two sets that it compares.
  std::size_t memory = std::size_t{1} << 30;
};

/// Finds the duplicates among the documents of index files (duplicate_index.hpp), numbered in order through
/// all of them. The result depends on the documents and their order only: neither on threads, nor on memory,
/// nor on how the documents are divided into files. A document without words has no near-duplicates.
///
/// The first known.size() documents were searched before, and known[i] is the cluster of each: they are
/// joined as known says, and only pairs with a document behind them are looked for and given.
///
/// `poll` is called every now and then; it may throw to end the search. Throws a data error where a file is
/// damaged or its shape differs from the first's, a usage error for numbers out of range.
Duplicates find_duplicates(
    std::span<const std::string> files, std::span<const std::uint32_t> known, const DuplicateSearch& options,
    ThreadPool& pool, const std::function<void()>& poll = [] {});

}  // namespace castline::text
