#include "tokenizer/char_class.hpp"

#include <algorithm>
#include <iterator>
#include <map>

namespace castline::tokenizer {
namespace {

struct Range {
  char32_t first;
  char32_t last;
  std::uint8_t classes;
};

#include "tokenizer/char_class_ranges.inc"

}  // namespace

const CharClasses& CharClasses::get() {
  static const CharClasses classes;
  return classes;
}

CharClasses::CharClasses() {
  std::map<std::array<std::uint8_t, 256>, std::uint16_t> seen;
  const Range* range = std::begin(kRanges);
  for (char32_t high = 0; high < block_.size(); ++high) {
    std::array<std::uint8_t, 256> block{};
    for (char32_t low = 0; low < block.size(); ++low) {
      const char32_t code = high << 8 | low;
      while (range != std::end(kRanges) && range->last < code) ++range;
      if (range != std::end(kRanges) && range->first <= code) block[low] = range->classes;
    }
    const auto [place, is_new] = seen.try_emplace(block, static_cast<std::uint16_t>(classes_.size()));
    if (is_new) classes_.insert(classes_.end(), block.begin(), block.end());
    block_[high] = place->second;
  }
}

}  // namespace castline::tokenizer
