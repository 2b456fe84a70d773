#include "text/characters.hpp"

#include <cstring>
#include <string>

#include "base/utf8.hpp"
#include "text/unicode.hpp"

namespace castline::text {

void count_characters(std::string_view bytes, std::span<std::int64_t, kCodePoints> counts) {
  std::string storage;
  const std::string_view text = valid_utf8(bytes, storage).text;
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p != end) {
    std::uint64_t eight = 0;  // most bytes of most texts are ASCII
    while (end - p >= 8 && (std::memcpy(&eight, p, 8), (eight & 0x8080808080808080U) == 0)) p += 8;
    while (p != end && static_cast<unsigned char>(*p) < 0x80) ++p;
    while (p != end && static_cast<unsigned char>(*p) >= 0x80) ++counts[utf8::next(p)];
  }
}

}  // namespace castline::text
