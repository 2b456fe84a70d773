// Every number that a corpus rule looks at, in one pass over a document.
//
// Definitions. A character is a code point. A token, a word (a token of kind word or han) and a symbol token
// are those of tokens.hpp. A line ends at "\n"; white space around it is left out; a line of white space only
// is blank and is not counted among `lines`. A paragraph is a run of lines without a blank one between them.
// A column is half the width of a Han character: one for any other. A fraction without a denominator is 0.
//
// Sources: Gopher (Rae et al. 2021, arXiv 2112.11446, appendix A), C4 (Raffel et al. 2020, arXiv 1910.10683,
// section 2.2, and its public code), FineWeb (Penedo et al. 2024, arXiv 2406.17557, section 3.6), The Stack
// (Kocetkov et al. 2022, arXiv 2211.15533) for code. InternLM2 (arXiv 2403.17297, section 3.1) names what its
// heuristics look at (line breaks, separators, frequencies of characters, distribution of punctuation)
// without defining it: those definitions are ours. Where datatrove's filters differ: they count blank lines
// among Gopher's lines, do not leave out white space around lines, divide paragraphs only at empty lines, and
// count a mark beside a word as a word of its own where Gopher's rules speak of words.
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
  std::int64_t replacement_characters = 0;  ///< U+FFFD, those for invalid bytes included
  std::int64_t control_characters = 0;      ///< Unicode Cc, white space aside
  std::int64_t private_use_characters = 0;  ///< Unicode Co
  std::int64_t zero_width_characters =
      0;  ///< U+200B, U+2060 … 2064, U+FEFF; not the joiners, which spell words
  double abnormal_character_fraction = 0;  ///< the four above and what Unicode does not assign, of characters
  double white_space_fraction = 0;         ///< of characters
  double letter_fraction = 0;         ///< letters, Han included, of the characters that are not white space
  double uppercase_fraction = 0;      ///< of letters
  double digit_fraction = 0;          ///< decimal digits, of the characters that are not white space
  double punctuation_fraction = 0;    ///< Unicode P*, of the characters that are not white space
  double symbol_fraction = 0;         ///< Unicode S*, of the characters that are not white space
  double han_fraction = 0;            ///< Han characters, of letters
  double alphanumeric_fraction = 0;   ///< letters and numbers, of characters (The Stack)
  double top_character_fraction = 0;  ///< the most frequent character, of those that are not white space
  double character_diversity = 0;  ///< how many different characters, each as frequent as the others, would
                                   ///< be as varied: 1 / sum of squared shares, white space aside

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

  // Line breaks and separators (InternLM2).
  double blank_line_fraction = 0;  ///< of all lines
  double broken_line_fraction =
      0;  ///< lines broken off in mid-sentence: they end in a letter, digit or comma, and
          ///< the next line, no blank one between, begins with a lower case letter or Han
  double narrow_broken_line_fraction = 0;  ///< such lines of at most 30 columns
  double hyphenated_line_fraction = 0;  ///< lines that end within a word: a letter and "-" or U+2010, and the
                                        ///< next line begins with a lower case letter
  double narrow_line_fraction = 0;      ///< lines of at most 30 columns
  double separator_line_fraction = 0;   ///< lines without a word: "-----", "* * *"
  double separator_character_fraction =
      0;  ///< | ¦ ｜ │ · • ・ ► » ›, of the characters that are not white space

  // Distribution of punctuation (InternLM2). A mark is a character of Unicode P*.
  double punctuation_to_word_ratio = 0;  ///< marks per word
  double repeated_mark_fraction = 0;  ///< marks and symbols that repeat both characters before them, of all
                                      ///< outside words: the third "!" of "!!!" and those behind it
  double exclamation_to_sentence_ratio = 0;  ///< "!" and "！" per sentence
  double words_per_sentence = 0;
  double closed_line_fraction = 0;  ///< lines that end a sentence: in a terminal mark or U+2026, closing
                                    ///< quotes and brackets aside
  double chinese_punctuation_fraction =
      0;  ///< 。，、；：？！（）, of these and . , ; : ? ! ( ) outside words

  // Gopher quality.
  double mean_word_length = 0;        ///< characters per word
  double hash_to_word_ratio = 0;      ///< "#" per word
  double ellipsis_to_word_ratio = 0;  ///< "..." and U+2026 per word
  double bullet_line_fraction =
      0;  ///< lines that begin with "-" or a bullet (U+2022, 2023, 25AA, 25CF, 25E6, B7)
  double ellipsis_line_fraction = 0;  ///< lines that end in "..." or U+2026
  double alphabetic_word_fraction =
      0;  ///< with a letter, of words as white space separates them: "end." is one
  double alphabetic_token_fraction =
      0;  ///< tokens with a letter: the counterpart where no white space separates
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
