// Words. One definition for the rules, the n-grams and the shingles, in spaced and unspaced scripts.
//
// A token is, after Unicode's word boundaries (UAX #29) much simplified:
//   han     one Han character;
//   word    a run of letters, numbers and connectors ("_") that holds a letter or number. In text, one of . '
//   ’
//           between two such characters belongs to the run (don't, e.g, 3.14), and a comma between two
//           digits;
//   symbol  a run of everything else that is not white space (in code: a single character).
// Marks and format characters belong to the token they follow. White space separates tokens and is in none.
// Hiragana, Thai and the like come as long words: of the unspaced scripts only Han is divided.
//
// Beside datatrove's spaCy tokens: contractions and hyphen-free compounds stay whole (don't is one word, not
// two), a run of punctuation is one token, not several, and Han text is divided into characters, not guessed
// into words.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/utf8.hpp"
#include "text/unicode.hpp"

namespace castline::text {

enum class TextKind : std::uint8_t { text, code };
enum class TokenKind : std::uint8_t { word, han, symbol };

struct Token {
  const char* begin = nullptr;
  const char* end = nullptr;
  std::uint32_t characters = 0;
  TokenKind kind = TokenKind::symbol;
  bool has_letter = false;
  bool has_upper = false;

  std::string_view bytes() const { return {begin, static_cast<std::size_t>(end - begin)}; }
};

/// Walks over the tokens of valid UTF-8.
template <TextKind kKind>
class TokenScanner {
 public:
  explicit TokenScanner(std::string_view text)
      : classes_(char_classes()), at_(text.data()), end_(text.data() + text.size()) {}

  /// Finds the next token; false at the end of the text. `count` is called with every character passed, white
  /// space included.
  template <class Count>
  bool next(Token& token, Count&& count) {
    CharClass first = CharClass::newline;
    for (;; at_ = after_) {
      if (at_ == end_) return false;
      first = peek();
      count(code_);
      if (first > CharClass::space) break;
    }
    token = Token{.begin = at_};
    take(token);
    if (is_word(first)) {
      word(token, first, count);
    } else if (first == CharClass::han) {
      token.kind = TokenKind::han;
      token.has_letter = true;
      extend(token, count);
    } else {
      symbols(token, count);
    }
    token.end = at_;
    return true;
  }

 private:
  static bool is_word(CharClass c) { return (kWordClasses >> static_cast<unsigned>(c) & 1u) != 0; }
  static bool extends(CharClass c) { return c == CharClass::mark || c == CharClass::format; }

  static constexpr unsigned bit(CharClass c) { return 1u << static_cast<unsigned>(c); }
  static constexpr unsigned kWordClasses = bit(CharClass::letter) | bit(CharClass::upper) |
                                           bit(CharClass::digit) | bit(CharClass::number) |
                                           bit(CharClass::connector);
  static constexpr unsigned kContent = kWordClasses & ~bit(CharClass::connector);
  static constexpr unsigned kLetters = bit(CharClass::letter) | bit(CharClass::upper);

  /// The class of the character at at_; code_ becomes that character, after_ the place behind it.
  CharClass peek() {
    after_ = at_;
    code_ = utf8::next(after_);
    return classes_[code_];
  }

  void take(Token& token) {
    at_ = after_;
    ++token.characters;
  }

  template <class Count>
  void extend(Token& token, Count&& count) {
    while (at_ != end_) {
      const CharClass c = peek();
      if (!extends(c)) return;
      count(code_);
      take(token);
    }
  }

  template <class Count>
  void word(Token& token, CharClass last, Count&& count) {
    unsigned seen = bit(last);
    while (at_ != end_) {
      const CharClass c = peek();
      if (is_word(c)) {
        last = c;
      } else if (!extends(c) && !(kKind == TextKind::text && joins(last))) {
        break;
      }
      seen |= bit(c);
      count(code_);
      take(token);
    }
    token.kind = (seen & kContent) != 0 ? TokenKind::word : TokenKind::symbol;
    token.has_letter = (seen & kLetters) != 0;
    token.has_upper = (seen & bit(CharClass::upper)) != 0;
  }

  /// Whether the character at at_ ties the word before it to a word character behind it.
  bool joins(CharClass last) {
    const char* behind = after_;
    if (behind == end_) return false;
    if (code_ == '.' || code_ == '\'' || code_ == 0x2019) return is_word(classes_[utf8::next(behind)]);
    return code_ == ',' && last == CharClass::digit && classes_[utf8::next(behind)] == CharClass::digit;
  }

  template <class Count>
  void symbols(Token& token, Count&& count) {
    while (at_ != end_) {
      const CharClass c = peek();
      if (c <= CharClass::space || is_word(c) || c == CharClass::han) return;
      if (kKind == TextKind::code && !extends(c)) return;
      count(code_);
      take(token);
    }
  }

  const CharClass* classes_;
  const char* at_;
  const char* end_;
  const char* after_ = nullptr;
  char32_t code_ = 0;
};

}  // namespace castline::text
