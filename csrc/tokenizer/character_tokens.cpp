#include "tokenizer/character_tokens.hpp"

#include <algorithm>
#include <string_view>

#include "base/utf8.hpp"

namespace castline::tokenizer {
namespace {

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// By token: the lowest rank of a pair in which it stands in a certain place.
struct LowestRanks {
  LowestRanks(const std::vector<Merge>& merges, const std::vector<Token>& tokens)
      : after_ascii(tokens.size(), PairTable::kNone),
        after_other(after_ascii),
        before(after_ascii),
        inside(after_ascii) {
    for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
      const auto [left, right, merged] = merges[rank];
      const std::string& before_right = tokens[left].bytes;
      const std::string& after_left = tokens[right].bytes;
      if (before_right.empty() || after_left.empty()) continue;  // no text has such a pair
      const auto lower = [rank](std::uint32_t& lowest) { lowest = std::min(lowest, rank); };
      lower(is_ascii(before_right.back()) ? after_ascii[right] : after_other[right]);
      if (!continues_character(after_left.front())) lower(before[left]);
      lower(inside[left]);
      lower(inside[right]);
    }
  }

  std::vector<std::uint32_t> after_ascii;  // on the right of a token that ends in ASCII
  std::vector<std::uint32_t> after_other;
  std::vector<std::uint32_t> before;  // on the left of a token that begins a character
  std::vector<std::uint32_t> inside;  // on either side
};

bool is_one_character(std::string_view bytes) {
  if (bytes.size() < 2 || bytes.size() > 4 || utf8::valid_prefix(bytes) != bytes.size()) return false;
  return utf8::previous(bytes.data() + bytes.size()) == bytes.data();
}

}  // namespace

CharacterTokens::CharacterTokens(const PairTable& pairs, const std::vector<Merge>& merges,
                                 const std::vector<Token>& tokens,
                                 const std::array<std::uint32_t, 256>& byte_tokens) {
  const LowestRanks lowest(merges, tokens);
  for (const Token& token : tokens) {
    const std::string& character = token.bytes;
    if (!token.byte_level || !is_one_character(character)) continue;
    std::vector<std::uint32_t> symbols;
    for (const char byte : character) symbols.push_back(byte_tokens[static_cast<unsigned char>(byte)]);
    bool stays_whole = true;
    bool after_ascii = true;
    std::uint32_t highest = 0;
    while (symbols.size() > 1 && stays_whole) {
      std::size_t at = 0;
      std::uint32_t rank = PairTable::kNone;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        const std::uint32_t here = pairs.rank(symbols[i], symbols[i + 1]);
        if (here < rank) {
          rank = here;
          at = i;
        }
      }
      stays_whole = rank < lowest.after_other[symbols.front()] && rank < lowest.before[symbols.back()];
      if (!stays_whole) break;
      after_ascii = after_ascii && rank < lowest.after_ascii[symbols.front()];
      highest = std::max(highest, rank);
      symbols[at] = merges[rank].merged;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    if (!stays_whole || lowest.inside[symbols.front()] <= highest) continue;
    const char* p = character.data();
    set(utf8::next(p), {symbols.front(), after_ascii});
  }
}

void CharacterTokens::set(char32_t code, Entry entry) {
  std::uint16_t& page = pages_[code >> 8];
  if (page == 0) {
    page = static_cast<std::uint16_t>(entries_.size() >> 8);
    entries_.resize(entries_.size() + 256);
  }
  entries_[static_cast<std::size_t>(page) << 8 | (code & 0xFF)] = entry;
}

}  // namespace castline::tokenizer
