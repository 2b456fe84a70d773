// Scanners for the known splitting patterns: each gives the end of the piece that begins at `p`.
//
// The text is well-formed UTF-8 and p < end. The patterns cover every character, so pieces lie end to
// end. Letter, number and space are disjoint; a character that is none of them is called a mark here.
#pragma once

#include "base/utf8.hpp"
#include "tokenizer/char_class.hpp"

namespace castline::tokenizer::scan {

constexpr std::uint8_t kNoMark = kLetter | kNumber | kSpace;

inline bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

/// The classes of the character at `p`, and `p` moved behind it.
inline std::uint8_t next_class(const char*& p, const CharClasses& classes) {
  return is_ascii(*p) ? classes.of_ascii(static_cast<unsigned char>(*p++)) : classes[utf8::next(p)];
}

/// The end of the run, perhaps empty, of characters whose classes under `mask` are `wanted`.
template <std::uint8_t mask, std::uint8_t wanted>
const char* run(const char* p, const char* end, const CharClasses& classes) {
  while (p < end) {
    const char* q = p;
    if ((next_class(q, classes) & mask) != wanted) break;
    p = q;
  }
  return p;
}

inline const char* letters(const char* p, const char* end, const CharClasses& classes) {
  return run<kLetter, kLetter>(p, end, classes);
}
inline const char* marks(const char* p, const char* end, const CharClasses& classes) {
  return run<kNoMark, 0>(p, end, classes);
}

/// `\s+(?!\S)|\s+` where a run of spaces spans [p, q): all of it at the end of the text, else all but the
/// last.
inline const char* spaces_before_text(const char* p, const char* q, const char* end) {
  if (q == end) return q;
  const char* last = utf8::previous(q);
  return last == p ? q : last;
}

/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
inline const char* next_gpt2(const char* p, const char* end, const CharClasses& classes) {
  if (*p == '\'' && end - p >= 2) {
    const char a = p[1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
    if (end - p >= 3) {
      const char b = p[2];
      if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return p + 3;
    }
  }
  const char* q = *p == ' ' && end - p >= 2 ? p + 1 : p;
  switch (next_class(q, classes) & kNoMark) {
    case kLetter:
      return letters(q, end, classes);
    case kNumber:
      return run<kNumber, kNumber>(q, end, classes);
    case kSpace:
      return spaces_before_text(p, run<kSpace, kSpace>(q, end, classes), end);
    default:
      return marks(q, end, classes);
  }
}

/// The end of (?i:'s|'t|'re|'ve|'m|'ll|'d) at `p`, or `p`.
inline const char* contraction(const char* p, const char* end) {
  if (*p != '\'' || end - p < 2) return p;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  const char a = lower(p[1]);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
  if (end - p < 3) return p;
  const char b = lower(p[2]);
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return p + 3;
  if (p[1] == '\xC5' && p[2] == '\xBF') return p + 3;  // U+017F, the long s, folds to s
  return p;
}

/// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
/// \s+(?!\S)|\s+ with up to `numbers` numbers in a piece: 3 for cl100k, 1 for Qwen 2.
template <int numbers>
const char* next_cl100k(const char* p, const char* end, const CharClasses& classes) {
  if (const char* q = contraction(p, end); q != p) return q;
  const char* q = p;
  const int first = next_class(q, classes) & kNoMark;
  if (first == kLetter) return letters(q, end, classes);
  if (first == kNumber) {
    for (int i = 1; i < numbers && q < end; ++i) {
      const char* after = q;
      if ((next_class(after, classes) & kNumber) == 0) break;
      q = after;
    }
    return q;
  }
  const auto is_line_end = [](char c) { return c == '\r' || c == '\n'; };
  if (q < end && !is_line_end(*p)) {
    const char* after = q;
    const int second = next_class(after, classes) & kNoMark;
    if (second == kLetter) return letters(after, end, classes);
    if (first == 0 || (second == 0 && *p == ' ')) {  // marks, perhaps with a space before them
      q = marks(q, end, classes);
      while (q < end && is_line_end(*q)) ++q;
      return q;
    }
  }
  if (first == 0) return q;
  q = run<kSpace, kSpace>(q, end, classes);
  for (const char* line_end = q; line_end > p; --line_end) {
    if (is_line_end(line_end[-1])) return line_end;
  }
  return spaces_before_text(p, q, end);
}

/// Digits: a numeric character or, with `runs`, a run of them; else the text up to the next one.
template <bool runs>
const char* next_numeric(const char* p, const char* end, const CharClasses& classes) {
  const char* q = p;
  if ((next_class(q, classes) & kNumeric) == 0) return run<kNumeric, 0>(q, end, classes);
  return runs ? run<kNumeric, kNumeric>(q, end, classes) : q;
}

}  // namespace castline::tokenizer::scan
