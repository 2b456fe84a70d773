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

namespace castline::tokenizer {

/// What a vocabulary says about bytes.
struct ByteTokens {
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  std::array<std::uint32_t, 256> ids;    ///< the token of each single byte, or kNone
  std::optional<std::uint32_t> unknown;  ///< stands for bytes without a token; else they vanish
  bool fuse_unknown = false;             ///< one `unknown` for a run of such bytes
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
  /// `bytes` holds the bytes of the tokens by id.
  Bpe(const std::vector<Merge>& merges, const std::vector<std::string>& bytes, const ByteTokens& byte_tokens);

  /// Appends the ids of `piece`, well-formed UTF-8, to `ids`.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<std::uint32_t>& ids) const;

 private:
  void to_symbols(std::string_view piece, std::vector<std::uint32_t>& symbols) const;
  void to_known_symbols(std::string_view piece, std::vector<std::uint32_t>& symbols) const;
  void merge_by_scanning(BpeScratch& scratch) const;
  void merge_by_heap(BpeScratch& scratch) const;

  PairTable pairs_;
  std::vector<std::uint32_t> merged_;  // by rank
  ByteTokens byte_tokens_;
  bool knows_all_bytes_;
  CharacterTokens characters_;
};

}  // namespace castline::tokenizer
