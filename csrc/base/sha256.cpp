#include "base/sha256.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace castline {
namespace {

// FIPS 180-4 section 4.2.2: the first 32 bits of the fractional parts of the cube roots of the
// first 64 primes; section 5.3.3: of the square roots of the first 8. Computed in integers, exactly.
constexpr std::uint32_t root_fraction(std::uint64_t prime, int degree) {
  // The largest r with (r / 2^32)^degree <= prime, low 32 bits. 128-bit products hold r^2 >> 32.
  std::uint64_t low = 0;
  std::uint64_t high = std::uint64_t{1} << 37;
  while (high - low > 1) {
    const std::uint64_t mid = (low + high) / 2;
    bool below = false;
    if (degree == 2) {
      below = static_cast<unsigned __int128>(mid) * mid <= (static_cast<unsigned __int128>(prime) << 64);
    } else {
      // mid^3 <= prime * 2^96 compared as mid^2 <= floor(prime * 2^96 / mid).
      const unsigned __int128 bound = (static_cast<unsigned __int128>(prime) << 96) / (mid == 0 ? 1 : mid);
      below = static_cast<unsigned __int128>(mid) * mid <= bound;
    }
    (below ? low : high) = mid;
  }
  return static_cast<std::uint32_t>(low);
}

template <std::size_t N>
constexpr std::array<std::uint32_t, N> root_table(int degree) {
  std::array<std::uint32_t, N> table{};
  std::size_t n = 0;
  for (std::uint64_t candidate = 2; n < N; ++candidate) {
    bool prime = true;
    for (std::uint64_t d = 2; d * d <= candidate; ++d) {
      if (candidate % d == 0) prime = false;
    }
    if (prime) table[n++] = root_fraction(candidate, degree);
  }
  return table;
}

constexpr auto kRound = root_table<64>(3);
constexpr auto kInitial = root_table<8>(2);
static_assert(kRound[0] == 0x428a2f98 && kRound[63] == 0xc67178f2 && kInitial[0] == 0x6a09e667);

void compress(std::array<std::uint32_t, 8>& state, const unsigned char* block) {
  std::array<std::uint32_t, 64> w{};
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] = (std::uint32_t{block[4 * i]} << 24) | (std::uint32_t{block[4 * i + 1]} << 16) |
           (std::uint32_t{block[4 * i + 2]} << 8) | std::uint32_t{block[4 * i + 3]};
  }
  for (std::size_t i = 16; i < 64; ++i) {
    const std::uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const std::uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const std::uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const std::uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const std::uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  const std::array<std::uint32_t, 8> add{a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < 8; ++i) state[i] += add[i];
}

}  // namespace

std::string sha256_hex(std::span<const std::byte> bytes) {
  std::array<std::uint32_t, 8> state = kInitial;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  for (; left >= 64; left -= 64, data += 64) compress(state, data);
  std::array<unsigned char, 128> tail{};
  if (left > 0) std::memcpy(tail.data(), data, left);
  tail[left] = 0x80;
  const std::size_t padded = left < 56 ? 64 : 128;
  const std::uint64_t bits = static_cast<std::uint64_t>(bytes.size()) * 8;
  for (std::size_t i = 0; i < 8; ++i) tail[padded - 1 - i] = static_cast<unsigned char>(bits >> (8 * i));
  compress(state, tail.data());
  if (padded == 128) compress(state, tail.data() + 64);
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(64);
  for (const std::uint32_t word : state) {
    for (int shift = 28; shift >= 0; shift -= 4) out += kHex[(word >> shift) & 15];
  }
  return out;
}

}  // namespace castline
