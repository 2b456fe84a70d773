// The character classes that splitting patterns ask for, as Hugging Face tokenizers sees them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace castline::tokenizer {

/// Bits of a character's class; char_class_ranges.inc holds them for all of Unicode.
enum CharClass : std::uint8_t {
  kLetter = 1,     ///< \p{L} of a splitting pattern
  kNumber = 2,     ///< \p{N}
  kSpace = 4,      ///< \s
  kNumeric = 8,    ///< what `Digits` sets apart: Rust's is_numeric, of a newer Unicode than \p{N}
  kWord = 16,      ///< \w, which may not be beside a `single_word` token
  kUnstable = 32,  ///< NFC may change it, move it, or join it to the character before
};

/// A two-stage table from code point to CharClass bits: blocks of 256, equal blocks stored once.
class CharClasses {
 public:
  static const CharClasses& get();

  std::uint8_t operator[](char32_t code) const { return classes_[block_[code >> 8] | (code & 0xFF)]; }
  /// The class of a character of ASCII, which is a byte: its block comes first.
  std::uint8_t of_ascii(unsigned char byte) const { return classes_[byte]; }

 private:
  CharClasses();

  std::array<std::uint16_t, 0x1100> block_{};  // the offset of the block's first class
  std::vector<std::uint8_t> classes_;
};

}  // namespace castline::tokenizer
