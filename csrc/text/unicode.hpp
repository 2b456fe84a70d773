// Characters: the class of every code point, simple lower case, and texts that are certain to be UTF-8.
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

/// A text whose bytes are certain to be UTF-8: everything behind this point decodes without checks.
struct ValidText {
  std::string_view text;
  std::size_t invalid_bytes = 0;
};

/// `bytes` itself where it is UTF-8; else a copy in `storage` with one U+FFFD for each maximal ill-formed
/// part, as `bytes.decode("utf-8", "replace")` does in Python.
ValidText valid_utf8(std::string_view bytes, std::string& storage);

}  // namespace castline::text
