// Characters that become one token whatever stands beside them: their bytes need not be merged one by one.
//
// Let c be a character of several bytes that by itself merges into one token, by merges of ranks r1, r2, ….
// It does so in every text, and may as well be taken as that token from the start, if
// - while c is merged, no pair of its first symbol with one on the left, and none of its last symbol with one
//   on the right, ranks below the merge that comes next within c: so nothing breaks into c; and
// - no pair with the token of c ranks below r1, r2, …: so the token, being there early, changes nothing.
// Most Han and Cyrillic characters of a trained vocabulary are such.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/pair_table.hpp"
#include "tokenizer/vocabulary.hpp"

namespace castline::tokenizer {

class CharacterTokens {
 public:
  static constexpr std::uint32_t kNone = 0x7FFFFFFF;

  /// No character is such.
  CharacterTokens() = default;
  /// `byte_tokens` holds the token of each single byte.
  CharacterTokens(const PairTable& pairs, const std::vector<Merge>& merges, const std::vector<Token>& tokens,
                  const std::array<std::uint32_t, 256>& byte_tokens);

  /// The token that `code` always becomes when it stands behind a character of ASCII, or else behind
  /// another or at the start; kNone if there is no such token.
  std::uint32_t token(char32_t code, bool after_ascii) const {
    const Entry entry = entries_[static_cast<std::size_t>(pages_[code >> 8]) << 8 | (code & 0xFF)];
    return after_ascii && !entry.after_ascii ? kNone : entry.token;
  }

 private:
  struct Entry {
    std::uint32_t token : 31 = kNone;
    std::uint32_t after_ascii : 1 = 0;
  };

  void set(char32_t code, Entry entry);

  std::array<std::uint16_t, 0x1100> pages_{};  // by code / 256; page 0 has no tokens
  std::vector<Entry> entries_ = std::vector<Entry>(256);
};

}  // namespace castline::tokenizer
