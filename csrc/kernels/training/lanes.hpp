// Sixteen floats that compute alike at every level: one AVX-512 register, two AVX2 registers or an array.
//
// A kernel written on Lanes sums in the same order whatever the level, and uses no fused multiply-add, so
// its results are the same bits on every processor. The file that includes this defines CASTLINE_LANES_AVX512
// or CASTLINE_LANES_AVX2, or neither for plain C++. All names are local to that file (see cpu_features.hpp).
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/bfloat16.hpp"

#if defined(CASTLINE_LANES_AVX512) || defined(CASTLINE_LANES_AVX2)
#include <immintrin.h>
#endif

namespace castline::kernels {
namespace {

constexpr std::int64_t kLanes = 16;

#if defined(CASTLINE_LANES_AVX512)

struct Lanes {
  __m512 v;

  static Lanes all(float x) { return {_mm512_set1_ps(x)}; }
  static Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Lanes load(const BFloat16* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(BFloat16* p) const {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m512i out = _mm512_mask_blend_epi32(nan, rounded, _mm512_set1_epi32(0x7FC00000));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(out, 16)));
  }
  friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
  /// a < b ? a : b, so a NaN in b stays.
  static Lanes min(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
  /// a > b ? a : b, so a NaN in b stays.
  static Lanes max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
  /// 2^n for float whole numbers n in [-126, 127] to which 1.5 · 2^23 was added.
  static Lanes power_of_two(Lanes shifted) {
    const __m512i n = _mm512_sub_epi32(_mm512_castps_si512(shifted.v), _mm512_set1_epi32(0x4B400000 - 127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(n, 23))};
  }
  /// 0 where x < bound, else value.
  static Lanes zero_below(Lanes x, Lanes bound, Lanes value) {
    return {_mm512_mask_mov_ps(value.v, _mm512_cmp_ps_mask(x.v, bound.v, _CMP_LT_OQ), _mm512_setzero_ps())};
  }
};

#elif defined(CASTLINE_LANES_AVX2)

struct Lanes {
  __m256 a, b;

  static Lanes all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Lanes load(const BFloat16* p) { return {widen(p), widen(p + 8)}; }
  void store(float* p) const {
    _mm256_storeu_ps(p, a);
    _mm256_storeu_ps(p + 8, b);
  }
  void store(BFloat16* p) const {
    const __m256i packed = _mm256_packus_epi32(round(a), round(b));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xD8));
  }
  friend Lanes operator+(Lanes x, Lanes y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  friend Lanes operator-(Lanes x, Lanes y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  friend Lanes operator*(Lanes x, Lanes y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  friend Lanes operator/(Lanes x, Lanes y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static Lanes min(Lanes x, Lanes y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  static Lanes max(Lanes x, Lanes y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static Lanes power_of_two(Lanes shifted) { return {power(shifted.a), power(shifted.b)}; }
  static Lanes zero_below(Lanes x, Lanes bound, Lanes value) {
    return {_mm256_andnot_ps(_mm256_cmp_ps(x.a, bound.a, _CMP_LT_OQ), value.a),
            _mm256_andnot_ps(_mm256_cmp_ps(x.b, bound.b, _CMP_LT_OQ), value.b)};
  }

 private:
  static __m256 widen(const BFloat16* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
  static __m256i round(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7FC00000), nan), 16);
  }
  static __m256 power(__m256 shifted) {
    const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(0x4B400000 - 127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
  }
};

#else

struct Lanes {
  float v[kLanes];

  template <class F>
  static Lanes each(F f) {
    Lanes out;
    for (int i = 0; i < kLanes; ++i) out.v[i] = f(i);
    return out;
  }
  static Lanes all(float x) {
    return each([&](int) { return x; });
  }
  static Lanes load(const float* p) {
    return each([&](int i) { return p[i]; });
  }
  static Lanes load(const BFloat16* p) {
    return each([&](int i) { return from_bits(std::uint32_t{p[i].bits} << 16); });
  }
  void store(float* p) const { std::memcpy(p, v, sizeof v); }
  void store(BFloat16* p) const {
    for (int i = 0; i < kLanes; ++i) {
      const std::uint32_t bits = to_bits(v[i]);
      const std::uint32_t rounded = bits + 0x7FFF + ((bits >> 16) & 1);
      p[i].bits = static_cast<std::uint16_t>((v[i] != v[i] ? 0x7FC00000U : rounded) >> 16);
    }
  }
  friend Lanes operator+(const Lanes& a, const Lanes& b) {
    return each([&](int i) { return a.v[i] + b.v[i]; });
  }
  friend Lanes operator-(const Lanes& a, const Lanes& b) {
    return each([&](int i) { return a.v[i] - b.v[i]; });
  }
  friend Lanes operator*(const Lanes& a, const Lanes& b) {
    return each([&](int i) { return a.v[i] * b.v[i]; });
  }
  friend Lanes operator/(const Lanes& a, const Lanes& b) {
    return each([&](int i) { return a.v[i] / b.v[i]; });
  }
  static Lanes min(const Lanes& a, const Lanes& b) {
    return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static Lanes max(const Lanes& a, const Lanes& b) {
    return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static Lanes power_of_two(const Lanes& shifted) {
    return each([&](int i) { return from_bits((to_bits(shifted.v[i]) - (0x4B400000U - 127U)) << 23); });
  }
  static Lanes zero_below(const Lanes& x, const Lanes& bound, const Lanes& value) {
    return each([&](int i) { return x.v[i] < bound.v[i] ? 0.0F : value.v[i]; });
  }

 private:
  static std::uint32_t to_bits(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
  }
  static float from_bits(std::uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
};

#endif

/// Sixteen neighbours in a row, or what is left of them at its end, where missing lanes read as 0.
struct Block {
  std::int64_t at;

  template <class T>
  Lanes load(const T* row) const {
    return Lanes::load(row + at);
  }
  template <class T>
  void store(Lanes x, T* row) const {
    x.store(row + at);
  }
};

struct LastBlock {
  std::int64_t at;
  std::int64_t count;

  template <class T>
  Lanes load(const T* row) const {
    T head[kLanes] = {};
    std::memcpy(head, row + at, static_cast<std::size_t>(count) * sizeof(T));
    return Lanes::load(head);
  }
  template <class T>
  void store(Lanes x, T* row) const {
    T head[kLanes];
    x.store(head);
    std::memcpy(row + at, head, static_cast<std::size_t>(count) * sizeof(T));
  }
};

/// Calls body(Block) along a row of `size` elements, and body(LastBlock) where `size` leaves a rest.
template <class Body>
void for_blocks(std::int64_t size, Body body) {
  std::int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) body(Block{at});
  if (at < size) body(LastBlock{at, size - at});
}

/// Rounds to T's precision, as storing and loading would.
template <class T>
Lanes rounded(Lanes x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return x;
  } else {
    T stored[kLanes];
    x.store(stored);
    return Lanes::load(stored);
  }
}

/// Adds the lanes in a fixed tree: 16 to 8 to 4 to 2 to 1.
float sum_lanes(Lanes x) {
  float v[kLanes];
  x.store(v);
  for (std::int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::int64_t i = 0; i < width; ++i) v[i] += v[i + width];
  }
  return v[0];
}

float max_lanes(Lanes x) {
  float v[kLanes];
  x.store(v);
  float best = v[0];
  for (std::int64_t i = 1; i < kLanes; ++i) best = best > v[i] ? best : v[i];
  return best;
}

float square_root(float x) { return __builtin_sqrtf(x); }

/// e^x: the power of two nearest to it times a Taylor polynomial of degree 7 on |r| <= ln(2)/2, whose
/// remainder is below half a unit of float32. 0 below -87.3, held at e^88 above 88, NaN stays.
Lanes exp(Lanes x) {
  const Lanes lowest = Lanes::all(-87.3F);
  const Lanes shift = Lanes::all(12582912.0F);  // 1.5 · 2^23: adding it rounds to a whole number
  const Lanes clamped = Lanes::min(Lanes::all(88.0F), Lanes::max(lowest, x));
  const Lanes shifted = clamped * Lanes::all(1.44269504F) + shift;
  const Lanes n = shifted - shift;
  // ln(2) in two parts: the first has few enough bits that n · first is exact.
  const Lanes r = clamped - n * Lanes::all(0.693359375F) + n * Lanes::all(2.12194440e-4F);
  Lanes p = Lanes::all(1.0F / 5040);
  p = p * r + Lanes::all(1.0F / 720);
  p = p * r + Lanes::all(1.0F / 120);
  p = p * r + Lanes::all(1.0F / 24);
  p = p * r + Lanes::all(1.0F / 6);
  p = p * r + Lanes::all(0.5F);
  p = p * r + Lanes::all(1.0F);
  p = p * r + Lanes::all(1.0F);
  return Lanes::zero_below(x, lowest, p * Lanes::power_of_two(shifted));
}

}  // namespace
}  // namespace castline::kernels
