// The 64-bit hashes of words, lines and n-grams: the folded 64x64 -> 128 bit multiplication of wyhash (Wang
// Yi, public domain). Fixed for ever: signatures and indexes on disk depend on it. Not meant against an
// adversary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace castline::text {

constexpr std::uint64_t kHash1 = 0xA0761D6478BD642Fu;
constexpr std::uint64_t kHash2 = 0xE7037ED1A0B428DBu;

inline std::uint64_t fold_multiply(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// Hashes two words into one; the order matters.
inline std::uint64_t hash_pair(std::uint64_t a, std::uint64_t b) {
  return fold_multiply(a ^ kHash1, b ^ kHash2);
}

template <class Integer>
Integer load(const char* p) {
  Integer value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

inline std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed = 0) {
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t hash = seed ^ kHash1 * (left + 1);
  for (; left > 16; p += 16, left -= 16) {
    hash = fold_multiply(load<std::uint64_t>(p) ^ kHash1, load<std::uint64_t>(p + 8) ^ hash);
  }
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  if (left >= 8) {
    a = load<std::uint64_t>(p);
    b = load<std::uint64_t>(p + left - 8);
  } else if (left >= 4) {
    a = load<std::uint32_t>(p);
    b = load<std::uint32_t>(p + left - 4);
  } else if (left > 0) {
    a = static_cast<std::uint64_t>(static_cast<unsigned char>(p[0])) << 16 |
        static_cast<std::uint64_t>(static_cast<unsigned char>(p[left / 2])) << 8 |
        static_cast<unsigned char>(p[left - 1]);
  }
  return fold_multiply(a ^ kHash2, b ^ hash);
}

}  // namespace castline::text
