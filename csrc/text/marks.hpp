// The characters that the rules single out.
#pragma once

#include <array>
#include <cstdint>

namespace castline::text {

inline constexpr char32_t kEllipsis = 0x2026;

inline bool is_bullet(char32_t c) {
  return c == '-' || c == 0x2022 || c == 0x2023 || c == 0x25AA || c == 0x25CF || c == 0x25E6 || c == 0xB7;
}

inline bool is_closing_quote(char32_t c) {
  return c == '"' || c == '\'' || c == 0x2019 || c == 0x201D || c == 0xBB || c == 0x203A || c == 0x300D ||
         c == 0x300F;
}

// What may stand between a terminal mark and the white space that ends the sentence.
inline bool is_closer(char32_t c) {
  return c == ')' || c == ']' || c == '}' || c == 0xFF09 || c == 0x3011 || c == 0x300B || is_closing_quote(c);
}

inline bool is_zero_width(char32_t c) { return c == 0x200B || (c >= 0x2060 && c <= 0x2064) || c == 0xFEFF; }

inline bool is_private_use(char32_t c) {
  return (c >= 0xE000 && c <= 0xF8FF) || (c >= 0xF0000 && (c & 0xFFFE) != 0xFFFE);
}

inline bool is_comma(char32_t c) { return c == ',' || c == 0xFF0C || c == 0x3001; }

/// What the distribution of punctuation asks of a character outside words.
enum class Mark : std::uint8_t { other, separator, ascii, chinese, exclamation, chinese_exclamation };

constexpr Mark classify_mark(char32_t c) {
  switch (c) {
    case '!':
      return Mark::exclamation;
    case '.':
    case ',':
    case ';':
    case ':':
    case '?':
    case '(':
    case ')':
      return Mark::ascii;
    case 0xFF01:
      return Mark::chinese_exclamation;
    case 0x3001:
    case 0x3002:
    case 0xFF08:
    case 0xFF09:
    case 0xFF0C:
    case 0xFF1A:
    case 0xFF1B:
    case 0xFF1F:
      return Mark::chinese;
    case '|':
    case 0xA6:
    case 0xB7:
    case 0xBB:
    case 0x2022:
    case 0x203A:
    case 0x2502:
    case 0x25BA:
    case 0x30FB:
    case 0xFF5C:
      return Mark::separator;
    default:
      return Mark::other;
  }
}

/// The same, by a table for ASCII.
inline Mark mark_of(char32_t c) {
  static constexpr auto kAscii = [] {
    std::array<Mark, 0x80> marks{};
    for (char32_t code = 0; code < 0x80; ++code) marks[code] = classify_mark(code);
    return marks;
  }();
  return c < 0x80 ? kAscii[c] : classify_mark(c);
}

}  // namespace castline::text
