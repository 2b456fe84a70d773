// Byte-pair encoding of one piece: the pair with the lowest rank is merged first, the leftmost of equals.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/character_tokens.hpp"
#include "tokenizer/pair_table.hpp"
#include "tokenizer/vocabulary.hpp"

namespace castline::tokenizer {

/// What becomes of bytes that have no token.
struct Unknown {
  std::optional<std::uint32_t> token;  ///< without one, they vanish
  bool fuse = false;                   ///< one token for a run of such bytes
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
  Bpe(const Vocabulary& vocabulary, const std::vector<Merge>& merges, Unknown unknown);

  /// Appends the ids of `piece`, well-formed UTF-8, to `ids`.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<std::uint32_t>& ids) const;

 private:
  void to_symbols(std::string_view piece, std::vector<std::uint32_t>& symbols) const;
  void to_known_symbols(std::string_view piece, std::vector<std::uint32_t>& symbols) const;
  void merge_by_scanning(BpeScratch& scratch) const;
  void merge_by_heap(BpeScratch& scratch) const;

  PairTable pairs_;
  std::vector<std::uint32_t> merged_;           // by rank
  std::array<std::uint32_t, 256> byte_tokens_;  // or kNoToken
  bool knows_all_bytes_;
  Unknown unknown_;
  CharacterTokens characters_;
};

}  // namespace castline::tokenizer
