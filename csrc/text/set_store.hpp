// The shingle sets of all documents of a search: in files, with those in memory that are being compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/parallel.hpp"
#include "text/duplicate_index.hpp"
#include "text/duplicates.hpp"

namespace castline::text {

class SetStore {
 public:
  struct File {
    IndexFile index;
    std::uint32_t first;  ///< the number of its first document
  };

  /// Opens index files of one shape. `memory` is how many bytes of sets stay in memory; the sets of one pair
  /// may be more.
  SetStore(std::span<const std::string> paths, std::size_t memory);

  std::span<const File> files() const { return files_; }
  std::size_t documents() const { return sizes_.size(); }
  std::size_t bands() const { return files_.empty() ? 0 : files_.front().index.shape().banding.bands; }
  /// How many shingles a document has.
  std::uint32_t size(std::uint32_t document) const { return sizes_[document]; }

  /// Loads the sets of as many leading pairs as fit, at least one; returns how many. Sets loaded before may
  /// be dropped.
  std::size_t load(std::span<const DuplicatePair> pairs, ThreadPool& pool);
  /// A set that the last load brought.
  std::span<const std::uint64_t> set(std::uint32_t document) const { return sets_.at(document); }

 private:
  std::size_t bytes(std::uint32_t document) const;
  std::size_t how_many_fit(std::span<const DuplicatePair> pairs) const;
  void read(std::vector<std::uint32_t>& documents, ThreadPool& pool);

  std::vector<File> files_;
  std::vector<std::uint32_t> sizes_;
  std::size_t memory_;
  std::size_t used_ = 0;
  std::unordered_map<std::uint32_t, std::vector<std::uint64_t>> sets_;
};

}  // namespace castline::text
