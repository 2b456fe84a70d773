// Near-duplicates: MinHash bands find candidates, the shingle sets themselves decide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/parallel.hpp"
#include "text/minhash.hpp"
#include "text/tokens.hpp"

namespace castline::text {

struct DuplicatePair {
  std::uint32_t first = 0;  ///< below second
  std::uint32_t second = 0;
  double jaccard = 0;  ///< of the shingle sets, exact
};

/// Collects documents, then finds the pairs whose Jaccard similarity reaches the threshold.
///
/// Documents are numbered in the order they are added. The pairs depend on the documents and their order
/// only: neither on the threads nor on how they were divided into calls. Of each document the index keeps 8
/// bytes per band and 8 bytes per shingle. A document without words has no shingles and no duplicates.
class DuplicateIndex {
 public:
  DuplicateIndex(double threshold, std::size_t permutations, double recall);

  const Banding& banding() const { return banding_; }
  std::size_t size() const { return documents_.size(); }

  void add(std::span<const std::string_view> texts, TextKind kind, ThreadPool& pool);

  /// Verified pairs, sorted. They are a spanning forest of the graph of near-duplicates: a pair is left out
  /// where its two documents are connected already, so a cluster of n documents gives n - 1 pairs. Identical
  /// documents are paired with the first of them.
  /// `poll` is called every now and then; it may throw to end the search, which leaves the index as it was.
  std::vector<DuplicatePair> pairs(ThreadPool& pool, const std::function<void()>& poll = [] {});

 private:
  struct Document {
    std::vector<std::uint64_t> shingles;  // in order until the document is first compared, then a sorted set
    std::uint64_t sequence_hash = 0;      // of the shingles in order: equal for identical documents
    bool is_set = false;
  };
  class Search;

  double threshold_;
  std::size_t permutations_;
  Banding banding_;
  std::vector<Document> documents_;
  std::vector<std::uint64_t> band_keys_;  // [document][band]
};

/// Connected components: for each of `count` documents the smallest index in its component.
std::vector<std::int64_t> clusters(std::size_t count, std::span<const std::int64_t> first,
                                   std::span<const std::int64_t> second);

}  // namespace castline::text
