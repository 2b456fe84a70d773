// Characters: UTF-8 in, the class of every code point, simple lower case.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace castline::text {

/// One class per code point; make_unicode_data.py has the Unicode property behind each.
enum class CharClass : std::uint8_t {
  newline,      ///< "\n" only; the other line breaks are space
  space,        ///< White_Space
  letter,       ///< L* that is neither upper nor han
  upper,        ///< Lu, Lt
  digit,        ///< Nd
  number,       ///< Nl, No
  han,          ///< Script=Han: ideographs, iteration marks, radicals
  mark,         ///< M*
  format,       ///< Cf: joiners, soft hyphen, byte order mark
  connector,    ///< Pc: "_" and its like
  terminal,     ///< Sentence_Terminal: . ! ? and their counterparts in other scripts
  punctuation,  ///< other P*
  symbol,       ///< S*
  abnormal,     ///< controls, private use, surrogates, unassigned, U+FFFD
};
constexpr std::size_t kCharClasses = 14;

/// The class of every code point up to U+10FFFF, indexed by it.
const CharClass* char_classes();

/// The simple lower case of an upper or title case letter; any other code point is returned as it is.
char32_t lower_case(char32_t code);

/// Decodes the character at `p` of valid UTF-8 and moves `p` behind it.
inline char32_t decode(const char*& p) {
  const auto byte = [&p](int i) { return static_cast<char32_t>(static_cast<unsigned char>(p[i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) {
    p += 1;
    return lead;
  }
  if (lead < 0xE0) {
    const char32_t code = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    p += 2;
    return code;
  }
  if (lead < 0xF0) {
    const char32_t code = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    p += 3;
    return code;
  }
  const char32_t code =
      (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  p += 4;
  return code;
}

/// The last character of a non-empty piece of valid UTF-8.
inline char32_t decode_last(std::string_view text) {
  const char* p = text.data() + text.size() - 1;
  while ((static_cast<unsigned char>(*p) & 0xC0) == 0x80) --p;
  return decode(p);
}

void append_utf8(std::string& out, char32_t code);

/// A text whose bytes are certain to be UTF-8: everything behind this point decodes without checks.
struct ValidText {
  std::string_view text;
  std::size_t invalid_bytes = 0;
};

/// `bytes` itself where it is UTF-8; else a copy in `storage` in which each maximal ill-formed part is one
/// U+FFFD (Unicode standard, section 3.9, as Python's decode("utf-8", "replace") does).
ValidText valid_utf8(std::string_view bytes, std::string& storage);

}  // namespace castline::text
