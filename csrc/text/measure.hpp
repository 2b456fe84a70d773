// Every number that a corpus rule looks at, in one pass over a document.
//
// Definitions. A character is a code point. A token, a word (a token of kind word or han) and a symbol token
// are those of tokens.hpp. A line ends at "\n"; white space around it is left out; a line of white space only
// is blank and is not counted among `lines`. A paragraph is a run of lines without a blank one between them.
// A fraction without a denominator is 0.
//
// Sources: Gopher (Rae et al. 2021, arXiv 2112.11446, appendix A), C4 (Raffel et al. 2020, arXiv 1910.10683,
// section 2.2, and its public code), FineWeb (Penedo et al. 2024, arXiv 2406.17557, section 3.6), The Stack
// (Kocetkov et al. 2022, arXiv 2211.15533) for code. Where datatrove's filters differ: they count blank lines
// among Gopher's lines, do not leave out white space around lines, and divide paragraphs only at empty lines.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>

namespace castline::text {

struct Measurements {
  // What the text is made of.
  std::int64_t characters = 0;
  std::int64_t invalid_bytes =
      0;  ///< bytes that are not part of UTF-8; each ill-formed part is one character
  std::int64_t abnormal_characters = 0;  ///< controls, private use, unassigned, U+FFFD
  double white_space_fraction = 0;       ///< of characters
  double letter_fraction = 0;        ///< letters, Han included, of the characters that are not white space
  double uppercase_fraction = 0;     ///< of letters
  double digit_fraction = 0;         ///< decimal digits, of the characters that are not white space
  double punctuation_fraction = 0;   ///< Unicode P*, of the characters that are not white space
  double symbol_fraction = 0;        ///< Unicode S*, of the characters that are not white space
  double han_fraction = 0;           ///< Han characters, of letters
  double alphanumeric_fraction = 0;  ///< letters and numbers, of characters (The Stack)

  // Its parts.
  std::int64_t tokens = 0;
  std::int64_t words = 0;
  std::int64_t sentences = 0;  ///< pieces with a word, ended by a terminal mark (. ! ? only before white
                               ///< space or closing quotes and brackets) or a line break
  std::int64_t lines = 0;
  std::int64_t blank_lines = 0;  ///< a line break at the end of the text begins no line
  std::int64_t paragraphs = 0;
  double mean_line_length = 0;       ///< characters of all lines, blank ones and outer white space included
  std::int64_t max_line_length = 0;  ///< the same
  std::int64_t longest_run = 0;      ///< characters in the longest run without white space and Han

  // Gopher quality.
  double mean_word_length = 0;        ///< characters per word
  double hash_to_word_ratio = 0;      ///< "#" per token
  double ellipsis_to_word_ratio = 0;  ///< "..." and U+2026 per token
  double bullet_line_fraction =
      0;  ///< lines that begin with "-" or a bullet (U+2022, 2023, 25AA, 25CF, 25E6, B7)
  double ellipsis_line_fraction = 0;    ///< lines that end in "..." or U+2026
  double alphabetic_word_fraction = 0;  ///< tokens with a letter
  std::int64_t english_stop_words = 0;  ///< how many of: the be to of and that have with (lower case)
  std::int64_t chinese_stop_words = 0;  ///< how many of: 的 一 是 不 了 在 有 这 (这 or 這)

  // Gopher repetition. Characters are divided by `characters`.
  double duplicate_line_fraction = 0;  ///< lines that came before
  double duplicate_line_character_fraction = 0;
  double duplicate_paragraph_fraction = 0;
  double duplicate_paragraph_character_fraction = 0;
  double top_2_gram_character_fraction =
      0;  ///< characters of the most frequent n-gram of tokens (the first one if
  double top_3_gram_character_fraction =
      0;  ///< several are) times its count; a space joins two tokens unless one
  double top_4_gram_character_fraction = 0;  ///< is a Han character
  double duplicate_5_gram_character_fraction =
      0;  ///< characters in n-grams of tokens that came before, scanning on
  double duplicate_6_gram_character_fraction = 0;  ///< behind each such n-gram
  double duplicate_7_gram_character_fraction = 0;
  double duplicate_8_gram_character_fraction = 0;
  double duplicate_9_gram_character_fraction = 0;
  double duplicate_10_gram_character_fraction = 0;

  // C4. A phrase counts where it begins a token, in any case.
  double c4_line_fraction =
      0;  ///< lines that C4 keeps: they end in a terminal mark or quote but not an ellipsis,
          ///< have 3 words, no run over 1,000 characters, no "javascript", no policy phrase
  std::int64_t c4_sentences = 0;  ///< sentences in those lines
  std::int64_t javascript_lines = 0;
  std::int64_t policy_lines = 0;  ///< lines with terms of use, privacy policy, cookie policy, uses cookies, …
  std::int64_t lorem_ipsum = 0;   ///< how often "lorem ipsum" comes
  std::int64_t curly_braces = 0;  ///< how often "{" comes

  // FineWeb.
  double terminal_line_fraction = 0;  ///< lines that end in a terminal mark (Unicode Sentence_Terminal)
  double short_line_fraction = 0;     ///< lines of at most 30 characters
  double duplicate_line_text_fraction =
      0;                             ///< characters of duplicate lines, of those that are not line breaks
  double newline_to_word_ratio = 0;  ///< line breaks per token

  // Code.
  std::int64_t autogenerated = 0;  ///< 1 where one of the first 10 lines says that a program wrote the file
};

/// A column of the measurement table: its name and where its value is.
struct MeasurementField {
  std::string_view name;
  std::variant<std::int64_t Measurements::*, double Measurements::*> member;
};

/// All fields, in the order of the struct.
std::span<const MeasurementField> measurement_fields();

/// Measures documents one after another, keeping its working memory.
class Measurer {
 public:
  struct Memory;

  Measurer();
  ~Measurer();
  Measurer(Measurer&&) noexcept;
  Measurer& operator=(Measurer&&) noexcept;

  /// Any bytes below 4 GiB will do; those that are not UTF-8 count as U+FFFD. Throws a data error for more.
  Measurements operator()(std::string_view text);

 private:
  std::unique_ptr<Memory> memory_;
};

/// The same for a single document.
Measurements measure(std::string_view text);

}  // namespace castline::text
