// UTF-8 (Unicode 15, chapter 3.9): reading code points, and replacing what is ill-formed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace castline::utf8 {

/// Reads the code point at `p`, which begins a character of well-formed UTF-8, and moves `p` behind it.
inline char32_t next(const char*& p) {
  const auto byte = [&](int i) { return static_cast<char32_t>(static_cast<unsigned char>(p[i])); };
  const char32_t first = byte(0);
  if (first < 0x80) {
    p += 1;
    return first;
  }
  if (first < 0xE0) {
    const char32_t code = (first & 0x1F) << 6 | (byte(1) & 0x3F);
    p += 2;
    return code;
  }
  if (first < 0xF0) {
    const char32_t code = (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    p += 3;
    return code;
  }
  const char32_t code =
      (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  p += 4;
  return code;
}

/// The start of the last character of the well-formed, non-empty text that ends at `end`.
inline const char* previous(const char* end) {
  do {
    --end;
  } while ((static_cast<unsigned char>(*end) & 0xC0) == 0x80);
  return end;
}

/// Appends the UTF-8 form of `code`, a Unicode scalar value.
void append(char32_t code, std::string& out);

/// The length of the longest prefix of `bytes` that is well-formed.
std::size_t valid_prefix(std::string_view bytes);

/// Appends `bytes` to `out` with one U+FFFD for each maximal ill-formed part, as Python's
/// `bytes.decode("utf-8", "replace")` and Rust's `String::from_utf8_lossy` do. Unless `last`, a
/// character that only lacks its end is left alone. Returns how many bytes were taken.
std::size_t append_replacing(std::string_view bytes, bool last, std::string& out);

}  // namespace castline::utf8
