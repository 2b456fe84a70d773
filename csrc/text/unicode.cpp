#include "text/unicode.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>

namespace castline::text {
namespace {

using C = CharClass;

struct ClassRange {
  char32_t first;  // the range ends where the next one begins
  CharClass value;
};

struct LowerPair {
  char32_t upper;
  char32_t lower;
};

#include "text/unicode_data.inc"

constexpr std::size_t kCodePoints = 0x110000;

std::unique_ptr<CharClass[]> expand_classes() {
  auto table = std::make_unique<CharClass[]>(kCodePoints);
  for (std::size_t i = 0; i < std::size(kClassRanges); ++i) {
    const std::size_t end = i + 1 < std::size(kClassRanges) ? kClassRanges[i + 1].first : kCodePoints;
    std::fill(table.get() + kClassRanges[i].first, table.get() + end, kClassRanges[i].value);
  }
  return table;
}

// The length of the well-formed character at the front of `p`, 0 where there is none; then `bad` is the
// length of the maximal ill-formed part (Unicode standard, tables 3-7 and 3-8).
std::size_t character_length(const unsigned char* p, std::size_t left, std::size_t& bad) {
  const unsigned char lead = p[0];
  bad = 1;
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead < 0x80) {
    return 1;
  } else if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i == left || p[i] < low || p[i] > high) {
      bad = i;
      return 0;
    }
    low = 0x80;
    high = 0xBF;
  }
  return length;
}

// The length of the well-formed front of `bytes`.
std::size_t valid_length(std::string_view bytes) {
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t at = 0;
  while (at < bytes.size()) {
    std::uint64_t eight = 0;
    if (at + 8 <= bytes.size()) {
      std::memcpy(&eight, data + at, 8);
      if ((eight & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    std::size_t bad = 0;
    const std::size_t length = character_length(data + at, bytes.size() - at, bad);
    if (length == 0) return at;
    at += length;
  }
  return at;
}

}  // namespace

const CharClass* char_classes() {
  static const std::unique_ptr<CharClass[]> table = expand_classes();
  return table.get();
}

char32_t lower_case(char32_t code) {
  if (code < 0x80) return code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code;
  const auto* found = std::lower_bound(std::begin(kLowerPairs), std::end(kLowerPairs), code,
                                       [](const LowerPair& pair, char32_t c) { return pair.upper < c; });
  return found != std::end(kLowerPairs) && found->upper == code ? found->lower : code;
}

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

ValidText valid_utf8(std::string_view bytes, std::string& storage) {
  std::size_t good = valid_length(bytes);
  if (good == bytes.size()) return {bytes, 0};
  storage.clear();
  std::size_t invalid = 0;
  for (;;) {
    storage.append(bytes.substr(0, good));
    bytes.remove_prefix(good);
    if (bytes.empty()) return {storage, invalid};
    std::size_t bad = 0;
    character_length(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), bad);
    storage += "\xEF\xBF\xBD";
    invalid += bad;
    bytes.remove_prefix(bad);
    good = valid_length(bytes);
  }
}

}  // namespace castline::text
