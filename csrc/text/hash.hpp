// The 64-bit hashes of words, lines and n-grams: the folded 64x64 -> 128 bit multiplication of wyhash (Wang
// Yi, public domain). Fixed for ever: signatures and indexes on disk depend on it. Not meant against an
// adversary.
#pragma once

#include <array>
#include <compare>
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

/// Two independent halves. {0, 0} stands for none where a hash may be missing.
struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  auto operator<=>(const Hash128&) const = default;
};

template <class Integer>
Integer load(const char* p) {
  Integer value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

/// The first `count` <= 8 bytes at `p`, zeros above them. Reads no others.
inline std::uint64_t load_front(const char* p, std::size_t count) {
  if (count == 8) return load<std::uint64_t>(p);
  if (count >= 4) {
    return load<std::uint32_t>(p) | std::uint64_t{load<std::uint32_t>(p + count - 4)} << 8 * (count - 4);
  }
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value |= std::uint64_t{static_cast<unsigned char>(p[i])} << 8 * i;
  return value;
}

/// The last step of hash_bytes: up to 16 bytes, as two zero-padded halves.
inline std::uint64_t hash_tail(std::uint64_t low, std::uint64_t high, std::uint64_t state) {
  return fold_multiply(low ^ kHash2, high ^ state);
}

inline std::uint64_t hash_start(std::size_t size, std::uint64_t seed) { return seed ^ kHash1 * (size + 1); }

inline std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed = 0) {
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t state = hash_start(left, seed);
  for (; left > 16; p += 16, left -= 16) {
    state = fold_multiply(load<std::uint64_t>(p) ^ kHash1, load<std::uint64_t>(p + 8) ^ state);
  }
  if (left > 8) return hash_tail(load<std::uint64_t>(p), load_front(p + 8, left - 8), state);
  return hash_tail(load_front(p, left), 0, state);
}

/// hash_bytes of the `size` bytes at `p`, behind which 16 more can be read: without branches up to 16 bytes.
inline std::uint64_t hash_padded(const char* p, std::size_t size) {
  if (size > 16) return hash_bytes({p, size});
  struct Masks {
    std::uint64_t low;
    std::uint64_t high;
  };
  static constexpr auto kMasks = [] {
    std::array<Masks, 17> masks{};
    for (std::size_t i = 0; i <= 16; ++i) {
      masks[i].low = i >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * i) - 1;
      masks[i].high = i >= 16 ? ~std::uint64_t{0} : i <= 8 ? 0 : (std::uint64_t{1} << 8 * (i - 8)) - 1;
    }
    return masks;
  }();
  return hash_tail(load<std::uint64_t>(p) & kMasks[size].low, load<std::uint64_t>(p + 8) & kMasks[size].high,
                   hash_start(size, 0));
}

}  // namespace castline::text
