// What is in 64 bytes of ASCII, once per instruction set; all give the same.
#pragma once

#include <cstddef>
#include <cstdint>

namespace castline::text {

constexpr std::size_t kAsciiBlock = 64;

/// Bit i speaks of byte i of the block.
struct AsciiMasks {
  std::uint64_t word = 0;    ///< letters, digits, "_"
  std::uint64_t digit = 0;   ///< digits
  std::uint64_t joiner = 0;  ///< . and ': part of a word between two word characters
  std::uint64_t comma = 0;   ///< part of a word between two digits
};

/// Reads `blocks` blocks of ASCII at `text`, writes them in lower case to `lower`, and what they hold to
/// `masks`.
void classify_ascii_scalar(const char* text, std::size_t blocks, char* lower, AsciiMasks* masks);
void classify_ascii_avx2(const char* text, std::size_t blocks, char* lower, AsciiMasks* masks);

}  // namespace castline::text
