// Which pairs of tokens merge, and in what order.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace castline::tokenizer {

/// Two tokens that become one. A merge's rank is its place in the list of merges: low ranks go first.
struct Merge {
  std::uint32_t left;
  std::uint32_t right;
  std::uint32_t merged;
};

/// The rank of every pair that merges: an open-addressed hash table with linear probing. An entry is one
/// word, so that a look-up touches the memory once: 22 bits for each token of the pair, 20 for the rank.
class PairTable {
 public:
  static constexpr std::uint32_t kNone = (1U << 20) - 1;  ///< higher than every rank
  static constexpr std::uint32_t kMaxMerges = kNone;
  static constexpr std::uint32_t kMaxIds = 1U << 22;

  /// Fewer than kMaxMerges merges of ids below kMaxIds. Of a pair listed twice the later rank counts, as in
  /// Hugging Face tokenizers.
  explicit PairTable(const std::vector<Merge>& merges) {
    const std::size_t size = std::bit_ceil(std::max<std::size_t>(merges.size() * 2, 2));
    entries_.assign(size, kNone);
    shift_ = 64 - std::countr_zero(size);
    for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
      const std::uint64_t pair = join(merges[rank].left, merges[rank].right);
      std::size_t i = slot(pair);
      while (entries_[i] != kNone && entries_[i] >> 20 != pair) i = (i + 1) & (size - 1);
      entries_[i] = pair << 20 | rank;
    }
  }

  /// The rank of the pair, or kNone.
  std::uint32_t rank(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t pair = join(left, right);
    for (std::size_t i = slot(pair);; i = (i + 1) & (entries_.size() - 1)) {
      const std::uint64_t entry = entries_[i];
      if (entry >> 20 == pair || entry == kNone) return static_cast<std::uint32_t>(entry & kNone);
    }
  }

 private:
  static std::uint64_t join(std::uint32_t left, std::uint32_t right) {
    return static_cast<std::uint64_t>(left) << 22 | right;
  }
  std::size_t slot(std::uint64_t pair) const {
    return static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15ULL) >> shift_);
  }

  std::vector<std::uint64_t> entries_;  // pair << 20 | rank; kNone where empty
  int shift_;
};

}  // namespace castline::tokenizer
