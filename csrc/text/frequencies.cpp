#include "text/frequencies.hpp"

#include <algorithm>

namespace castline::text {
namespace {

void tally(Frequencies& found, CharClass c, std::uint64_t count) {
  found.classes[static_cast<std::size_t>(c)] += count;
  if (c <= CharClass::space) return;
  found.solid += count;
  found.top = std::max(found.top, count);
  found.squares += count * count;
}

}  // namespace

void FrequencyCounter::add_other(char32_t code) {
  if (code >= kTable) {
    beyond_.push_back(code);
    return;
  }
  if (others_.empty()) others_.resize(kTable);
  if (others_[code]++ == 0) touched_.push_back(static_cast<char16_t>(code));
}

Frequencies FrequencyCounter::take() {
  const CharClass* classes = char_classes();
  Frequencies found;
  for (std::size_t code = 0; code < kAscii; ++code) tally(found, classes[code], ascii_[code]);
  ascii_.fill(0);
  for (const char16_t code : touched_) {
    tally(found, classes[code], others_[code]);
    others_[code] = 0;
  }
  touched_.clear();
  std::sort(beyond_.begin(), beyond_.end());
  for (auto at = beyond_.begin(); at != beyond_.end();) {
    const auto next = std::upper_bound(at, beyond_.end(), *at);
    tally(found, classes[*at], static_cast<std::uint64_t>(next - at));
    at = next;
  }
  beyond_.clear();
  return found;
}

}  // namespace castline::text
