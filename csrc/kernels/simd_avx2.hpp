// The vector operations of the decoder kernels on AVX2 with FMA; simd_scalar.hpp describes each.
// Included once, by the source file of its level.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

struct Simd {
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kShorts = 16;
  static constexpr int kRows = 3;  // 3 × 4 sums, 3 rows and one weight: the 16 registers
  using F = __m256;
  // 32-bit integers. Not __m256i, whose freedom to alias makes GCC keep sums of it in memory.
  typedef int I __attribute__((vector_size(32)));
  using S = __m256i;  // 16-bit integers

  static F set(float a) { return _mm256_set1_ps(a); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load(const float* p, std::size_t n) { return _mm256_maskload_ps(p, mask(n)); }
  static void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  static void store(float* p, F a, std::size_t n) { _mm256_maskstore_ps(p, mask(n), a); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
  static F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F power_of_two(F a) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }
  static void store_shorts(std::int16_t* p, F a, std::size_t n) {
    const __m256i wide = _mm256_cvtps_epi32(a);
    const __m128i narrow = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    if (n == kLanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow);
      return;
    }
    alignas(16) std::int16_t all[kLanes];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), narrow);
    for (std::size_t i = 0; i < n; ++i) p[i] = all[i];
  }
  static float sum(F a) {
    const F four[4] = {a, _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    float out[4];
    sum4(four, out);
    return out[0];
  }
  static float largest(F a) {
    __m128 r = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    r = _mm_max_ps(r, _mm_movehl_ps(r, r));
    r = _mm_max_ss(r, _mm_shuffle_ps(r, r, 1));
    return _mm_cvtss_f32(r);
  }
  static void sum4(const F* a, float* out) {
    const F ab = _mm256_add_ps(_mm256_unpacklo_ps(a[0], a[1]), _mm256_unpackhi_ps(a[0], a[1]));
    const F cd = _mm256_add_ps(_mm256_unpacklo_ps(a[2], a[3]), _mm256_unpackhi_ps(a[2], a[3]));
    const F all = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
  }

  static F load_halves(const std::uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static F load_halves(const std::uint16_t* p, std::size_t n) {
    std::uint16_t all[kLanes] = {};
    for (std::size_t i = 0; i < n; ++i) all[i] = p[i];
    return load_halves(all);
  }
  static F load_bfloats(const std::uint16_t* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  static F load_bfloats(const std::uint16_t* p, std::size_t n) {
    std::uint16_t all[kLanes] = {};
    for (std::size_t i = 0; i < n; ++i) all[i] = p[i];
    return load_bfloats(all);
  }
  static F load_signed(const std::int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static F load_signed(const std::int8_t* p, std::size_t n) {
    std::int8_t all[kLanes] = {};
    for (std::size_t i = 0; i < n; ++i) all[i] = p[i];
    return load_signed(all);
  }

  static I zero() { return I{}; }
  static S load_shorts(const std::int16_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static S load_shorts(const std::int16_t* p, std::size_t n) {
    std::int16_t all[kShorts] = {};
    for (std::size_t i = 0; i < n; ++i) all[i] = p[i];
    return load_shorts(all);
  }
  static S load_bytes(const std::int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static S load_bytes(const std::int8_t* p, std::size_t n) {
    std::int8_t all[kShorts] = {};
    for (std::size_t i = 0; i < n; ++i) all[i] = p[i];
    return load_bytes(all);
  }
  static I dot(I acc, S a, S b) { return acc + (I)_mm256_madd_epi16(a, b); }
  static std::int32_t sum(I a) {
    const I four[4] = {a, zero(), zero(), zero()};
    std::int32_t out[4];
    sum4(four, out);
    return out[0];
  }
  static void sum4(const I* a, std::int32_t* out) {
    const __m256i all =
        _mm256_hadd_epi32(_mm256_hadd_epi32((S)a[0], (S)a[1]), _mm256_hadd_epi32((S)a[2], (S)a[3]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                     _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
  }

  // Int4: bytes, and sums of their products in pairs of 16-bit lanes (a block's largest is 30,480).
  static constexpr int kInt4Rows = 2;
  using B = __m256i;
  typedef short Q __attribute__((vector_size(32)));
  static Q zero_quads() { return Q{}; }
  static B load_nibbles(const std::uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const B*>(p)); }
  static B low_nibbles(B a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
  static B high_nibbles(B a) { return low_nibbles(_mm256_srli_epi16(a, 4)); }
  static B broadcast_quad(const std::int8_t* p) {
    int four;
    __builtin_memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
  }
  static Q dot_quads(Q acc, B w, B x) { return acc + (Q)_mm256_maddubs_epi16(w, x); }
  static F to_floats(Q a) { return _mm256_cvtepi32_ps(_mm256_madd_epi16((__m256i)a, _mm256_set1_epi16(1))); }
  static F load_bytes_as_floats(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static void store_bytes(std::int8_t* p, F a) {
    const __m256i wide = _mm256_cvtps_epi32(a);
    const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(shorts, shorts));
  }

 private:
  static __m256i mask(std::size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

}  // namespace
