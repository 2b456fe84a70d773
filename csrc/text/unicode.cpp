#include "text/unicode.hpp"

#include <algorithm>
#include <iterator>
#include <memory>

#include "base/utf8.hpp"

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

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::size_t count_replacements(std::string_view bytes) {
  std::size_t count = 0;
  for (auto at = bytes.find(kReplacement); at != bytes.npos; at = bytes.find(kReplacement, at + 3)) ++count;
  return count;
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

ValidText valid_utf8(std::string_view bytes, std::string& storage) {
  if (utf8::valid_prefix(bytes) == bytes.size()) return {bytes, 0};
  storage.clear();
  utf8::append_replacing(bytes, true, storage);
  const std::size_t replaced = count_replacements(storage) - count_replacements(bytes);
  const std::size_t kept = storage.size() - replaced * kReplacement.size();
  return {storage, bytes.size() - kept};
}

}  // namespace castline::text
