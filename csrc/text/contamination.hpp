// Which n-grams of a text come from evaluation data (Brown et al. 2020, arXiv 2005.14165, appendix C: 13
// words).
//
// Words are those of tokens.hpp in lower case, symbols left out, a Han character being one. An evaluation
// text shorter than n words is one n-gram of its own length, unless it has fewer than `least` words: such a
// text says too little. n-grams are compared by 64-bit hashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/shingles.hpp"

namespace castline::text {

class ContaminationIndex {
 public:
  /// How much of a text is evaluation data.
  struct Overlap {
    std::int64_t ngrams = 0;   ///< places in the text where an n-gram of evaluation data begins
    std::int64_t record = -1;  ///< the record that shares the most n-grams, of several the first; -1: none
    std::int64_t shared = 0;   ///< different n-grams that it shares with that record
  };

  /// `records[i]` is the number, from 0, of the record that `texts[i]` is a part of. Throws a usage error
  /// unless 1 <= least <= ngram.
  ContaminationIndex(std::span<const std::string_view> texts, std::span<const std::int64_t> records,
                     std::size_t ngram, std::size_t least);

  /// `shingler` is working memory.
  Overlap operator()(std::string_view text, Shingler& shingler) const;

  /// Different n-grams of every record, by its number.
  const std::vector<std::int64_t>& record_ngrams() const { return record_ngrams_; }

 private:
  struct Entry {
    std::uint64_t hash;
    std::int64_t record;
    auto operator<=>(const Entry&) const = default;
  };

  bool may_hold(std::uint64_t hash) const {
    return (filter_[hash >> shift_ >> 6] >> (hash >> shift_ & 63) & 1u) != 0;
  }

  std::vector<Entry> entries_;         // sorted, without repeats
  std::vector<std::uint64_t> filter_;  // a bit for the upper bits of every hash
  unsigned shift_ = 58;
  std::vector<std::size_t> lengths_;  // of n-grams, ascending
  std::vector<std::int64_t> record_ngrams_;
};

}  // namespace castline::text
