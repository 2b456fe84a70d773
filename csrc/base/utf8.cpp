#include "base/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace castline::utf8 {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Part {
  int length;  // of the character, or of the maximal ill-formed part
  bool whole;  // a whole character
  bool cut;    // the bytes ended inside a character that was well-formed so far
};

/// Table 3-7 of the Unicode standard: which second byte may follow which first byte.
Part part_at(const unsigned char* p, const unsigned char* end) {
  const unsigned first = p[0];
  int length = 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (first < 0x80) {
    return {1, true, false};
  } else if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {1, false, false};
  }
  for (int i = 1; i < length; ++i) {
    if (p + i == end) return {i, false, true};
    if (p[i] < low || p[i] > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

const unsigned char* skip_ascii(const unsigned char* p, const unsigned char* end) {
  while (end - p >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, p, sizeof word);
    if ((word & 0x8080808080808080ULL) != 0) break;
    p += 8;
  }
  while (p < end && *p < 0x80) ++p;
  return p;
}

}  // namespace

void append(char32_t code, std::string& out) {
  const auto byte = [&](char32_t value) { out += static_cast<char>(value); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | code >> 6);
    byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3F));
    byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3F));
    byte(0x80 | (code >> 6 & 0x3F));
    byte(0x80 | (code & 0x3F));
  }
}

std::size_t valid_prefix(std::string_view bytes) {
  const auto* begin = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto* end = begin + bytes.size();
  for (const auto* p = begin;;) {
    p = skip_ascii(p, end);
    if (p == end) return bytes.size();
    const Part part = part_at(p, end);
    if (!part.whole) return static_cast<std::size_t>(p - begin);
    p += part.length;
  }
}

std::size_t append_replacing(std::string_view bytes, bool last, std::string& out) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    const std::string_view rest = bytes.substr(taken);
    const std::size_t valid = valid_prefix(rest);
    out.append(rest.substr(0, valid));
    taken += valid;
    if (valid == rest.size()) break;
    const auto* p = reinterpret_cast<const unsigned char*>(rest.data());
    const Part part = part_at(p + valid, p + rest.size());
    if (part.cut && !last) break;
    out.append(kReplacement);
    taken += static_cast<std::size_t>(part.length);
  }
  return taken;
}

}  // namespace castline::utf8
