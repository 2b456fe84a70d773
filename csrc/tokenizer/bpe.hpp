// Byte-pair encoding of one piece: the pair with the lowest rank is merged first, the leftmost of equals.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace castline::tokenizer {

/// What a vocabulary's pair becomes. `rank` is the pair's place in the list of merges.
struct Merge {
  std::uint32_t left;
  std::uint32_t right;
  std::uint32_t merged;
};

/// The ranks of all pairs that merge: an open-addressed hash table with linear probing.
class PairTable {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  /// Of a pair listed twice the later rank counts, as in Hugging Face tokenizers.
  explicit PairTable(const std::vector<Merge>& merges);

  /// The rank of the pair, or kNone.
  std::uint32_t rank(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t key = static_cast<std::uint64_t>(left) << 32 | right;
    for (std::size_t i = slot(key);; i = (i + 1) & mask_) {
      if (entries_[i].rank == kNone || entries_[i].key == key) return entries_[i].rank;
    }
  }

 private:
  struct Entry {
    std::uint64_t key;
    std::uint32_t rank;
  };

  std::size_t slot(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ULL) >> shift_);
  }

  std::vector<Entry> entries_;
  std::size_t mask_;
  int shift_;
};

/// The symbols of a piece while it is merged; kept between pieces to save allocations.
struct BpeScratch {
  std::vector<std::uint32_t> ids;
  std::vector<std::uint32_t> ranks;
  std::vector<std::uint32_t> next;
  std::vector<std::uint32_t> previous;
  std::vector<std::uint64_t> heap;
};

class Bpe {
 public:
  /// `byte_ids[b]` is the token of the single byte b, if the vocabulary has one. Bytes without one
  /// become `unknown` (one token for a run of them if `fuse_unknown`), or vanish if that is not set.
  struct Options {
    std::vector<std::optional<std::uint32_t>> byte_ids;
    std::optional<std::uint32_t> unknown;
    bool fuse_unknown = false;
  };

  Bpe(const std::vector<Merge>& merges, Options options);

  /// Appends the ids of `piece` to `ids`.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<std::uint32_t>& ids) const;

 private:
  void to_symbols(std::string_view piece, std::vector<std::uint32_t>& symbols) const;
  void merge_by_scanning(BpeScratch& scratch) const;
  void merge_by_heap(BpeScratch& scratch) const;

  PairTable pairs_;
  std::vector<std::uint32_t> merged_;  // by rank
  Options options_;
};

}  // namespace castline::tokenizer
