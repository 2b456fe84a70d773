#include "tokenizer/nfc.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "base/utf8.hpp"
#include "tokenizer/char_class.hpp"

namespace castline::tokenizer {
namespace {

struct MarkRange {
  char32_t first;
  char32_t last;
  std::uint8_t combining_class;
};

struct Decomposition {
  char32_t code;
  char32_t first;
  char32_t second;  // 0: `first` alone
  bool composes;    // the pair becomes `code` again
};

#include "tokenizer/nfc_data.inc"

// Hangul syllables are composed by arithmetic (Unicode standard, 3.12).
constexpr char32_t kSyllables = 0xAC00;
constexpr char32_t kLeads = 0x1100;
constexpr char32_t kVowels = 0x1161;
constexpr char32_t kTrails = 0x11A7;  // one before the first: 0 is no trailing consonant
constexpr char32_t kLeadCount = 19;
constexpr char32_t kVowelCount = 21;
constexpr char32_t kTrailCount = 28;
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTrailCount;

struct Mark {
  char32_t code;
  std::uint8_t combining_class;
};

std::uint8_t combining_class(char32_t code) {
  const auto* range = std::lower_bound(std::begin(kMarks), std::end(kMarks), code,
                                       [](const MarkRange& r, char32_t c) { return r.last < c; });
  return range != std::end(kMarks) && range->first <= code ? range->combining_class : 0;
}

void decompose(char32_t code, std::vector<Mark>& out) {
  if (code - kSyllables < kSyllableCount) {
    const char32_t index = code - kSyllables;
    out.push_back({kLeads + index / (kVowelCount * kTrailCount), 0});
    out.push_back({kVowels + index / kTrailCount % kVowelCount, 0});
    if (index % kTrailCount != 0) out.push_back({kTrails + index % kTrailCount, 0});
    return;
  }
  const auto* found = std::lower_bound(std::begin(kDecompositions), std::end(kDecompositions), code,
                                       [](const Decomposition& d, char32_t c) { return d.code < c; });
  if (found == std::end(kDecompositions) || found->code != code) {
    out.push_back({code, combining_class(code)});
    return;
  }
  decompose(found->first, out);
  if (found->second != 0) decompose(found->second, out);
}

/// The character that the pair composes to, or 0.
char32_t compose(char32_t first, char32_t second) {
  if (first - kLeads < kLeadCount && second - kVowels < kVowelCount) {
    return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTrailCount;
  }
  if (first - kSyllables < kSyllableCount && (first - kSyllables) % kTrailCount == 0 && second > kTrails &&
      second - kTrails < kTrailCount) {
    return first + (second - kTrails);
  }
  static const auto composites = [] {
    std::map<std::pair<char32_t, char32_t>, char32_t> map;
    for (const Decomposition& d : kDecompositions) {
      if (d.composes) map.emplace(std::pair(d.first, d.second), d.code);
    }
    return map;
  }();
  const auto found = composites.find({first, second});
  return found == composites.end() ? 0 : found->second;
}

/// Appends the NFC of `text`, which stands between two boundaries of normalisation.
void normalise(std::string_view text, std::string& out) {
  std::vector<Mark> marks;
  const char* p = text.data();
  while (p < text.data() + text.size()) decompose(utf8::next(p), marks);

  // Canonical order: runs of non-starters by class, those of one class as they came.
  for (auto start = marks.begin(); start != marks.end();) {
    if (start->combining_class == 0) {
      ++start;
      continue;
    }
    const auto stop = std::find_if(start, marks.end(), [](const Mark& m) { return m.combining_class == 0; });
    std::stable_sort(start, stop,
                     [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    start = stop;
  }

  // Each character is joined to the last starter unless one of its class or higher stands between.
  std::vector<Mark> composed;
  std::size_t starter = 0;
  bool has_starter = false;
  for (const Mark& mark : marks) {
    if (has_starter) {
      const bool adjacent = starter + 1 == composed.size();
      const std::uint8_t between = composed.back().combining_class;
      if (adjacent || (between != 0 && between < mark.combining_class)) {
        if (const char32_t joined = compose(composed[starter].code, mark.code); joined != 0) {
          composed[starter].code = joined;
          continue;
        }
      }
    }
    if (mark.combining_class == 0) {
      starter = composed.size();
      has_starter = true;
    }
    composed.push_back(mark);
  }
  for (const Mark& mark : composed) utf8::append(mark.code, out);
}

}  // namespace

std::string_view to_nfc(std::string_view text, std::string& out) {
  const CharClasses& classes = CharClasses::get();
  const char* const end = text.data() + text.size();
  const auto is_unstable = [&](const char* p) { return (classes[utf8::next(p)] & kUnstable) != 0; };
  // A stable character is a boundary; only stretches that hold an unstable one are worked on.
  const char* done = text.data();
  bool changed = false;
  for (const char* p = text.data(); p < end;) {
    const char* const start = p;
    bool unstable = is_unstable(p);
    utf8::next(p);
    for (; p < end && is_unstable(p); utf8::next(p)) unstable = true;
    if (!unstable) continue;
    if (!changed) out.clear();
    changed = true;
    out.append(done, start);
    normalise({start, static_cast<std::size_t>(p - start)}, out);
    done = p;
  }
  if (!changed) return text;
  out.append(done, end);
  return out;
}

}  // namespace castline::tokenizer
