// How often each character comes in a text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "text/unicode.hpp"

namespace castline::text {

struct Frequencies {
  std::array<std::uint64_t, kCharClasses> classes{};  ///< characters of each class
  std::uint64_t solid = 0;                            ///< characters that are not white space
  std::uint64_t top = 0;                              ///< of the most frequent one of them
  std::uint64_t squares = 0;  ///< the sum over them of the square of how often each comes
};

/// Counts code points, at most 2^32 of them, in tables that are kept from text to text.
class FrequencyCounter {
 public:
  void add(char32_t code) {
    if (code < kAscii) {
      ++ascii_[code];
    } else {
      add_other(code);
    }
  }

  /// What was added since the last call.
  Frequencies take();

 private:
  void add_other(char32_t code);

  static constexpr std::size_t kAscii = 0x80;
  static constexpr std::size_t kTable = 0x10000;

  std::array<std::uint32_t, kAscii> ascii_{};
  std::vector<std::uint32_t> others_;  // by code point; made when the first one comes
  std::vector<char16_t> touched_;      // those that are not zero
  std::vector<char32_t> beyond_;       // rare: as they come
};

}  // namespace castline::text
