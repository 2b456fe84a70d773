// The vector operations of the decoder kernels on AVX-512 with VNNI; simd_scalar.hpp describes each.
// Included once, by the source file of its level.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

struct Simd {
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kShorts = 32;
  static constexpr int kRows = 6;  // 6 × 4 sums, 6 rows and one weight: 31 of the 32 registers
  using F = __m512;
  // 32-bit integers. Not __m512i, whose freedom to alias makes GCC keep sums of it in memory.
  typedef int I __attribute__((vector_size(64)));
  using S = __m512i;  // 16-bit integers

  static F set(float a) { return _mm512_set1_ps(a); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load(const float* p, std::size_t n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  static void store(float* p, F a, std::size_t n) { _mm512_mask_storeu_ps(p, mask(n), a); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F power_of_two(F a) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
  }
  static void store_shorts(std::int16_t* p, F a, std::size_t n) {
    _mm512_mask_cvtsepi32_storeu_epi16(p, mask(n), _mm512_cvtps_epi32(a));
  }
  static float sum(F a) {
    const F four[4] = {a, _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    float out[4];
    sum4(four, out);
    return out[0];
  }
  static float largest(F a) { return _mm512_reduce_max_ps(a); }
  static void sum4(const F* a, float* out) {
    const F ab = _mm512_add_ps(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
    const F cd = _mm512_add_ps(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
    const F all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xEE));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  }

  static F load_halves(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F load_halves(const std::uint16_t* p, std::size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), p));
  }
  static F load_bfloats(const std::uint16_t* p) {
    return widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F load_bfloats(const std::uint16_t* p, std::size_t n) {
    return widened(_mm256_maskz_loadu_epi16(mask(n), p));
  }
  static F load_signed(const std::int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static F load_signed(const std::int8_t* p, std::size_t n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask(n), p)));
  }

  static I zero() { return I{}; }
  static S load_shorts(const std::int16_t* p) { return _mm512_loadu_si512(p); }
  static S load_shorts(const std::int16_t* p, std::size_t n) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((1ULL << n) - 1), p);
  }
  static S load_bytes(const std::int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static S load_bytes(const std::int8_t* p, std::size_t n) {
    return _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(static_cast<__mmask32>((1ULL << n) - 1), p));
  }
  static I dot(I acc, S a, S b) { return (I)_mm512_dpwssd_epi32((S)acc, a, b); }
  static std::int32_t sum(I a) { return _mm512_reduce_add_epi32((S)a); }
  static void sum4(const I* a, std::int32_t* out) {
    const __m512i ab =
        _mm512_add_epi32(_mm512_unpacklo_epi32((S)a[0], (S)a[1]), _mm512_unpackhi_epi32((S)a[0], (S)a[1]));
    const __m512i cd =
        _mm512_add_epi32(_mm512_unpacklo_epi32((S)a[2], (S)a[3]), _mm512_unpackhi_epi32((S)a[2], (S)a[3]));
    const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                     _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
  }

  static constexpr int kInt4Rows = 8;
  using B = __m512i;  // bytes
  using Q = I;
  static Q zero_quads() { return Q{}; }
  static B load_nibbles(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  static B low_nibbles(B a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
  static B high_nibbles(B a) { return low_nibbles(_mm512_srli_epi16(a, 4)); }
  static B broadcast_quad(const std::int8_t* p) {
    int four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
  static Q dot_quads(Q acc, B w, B x) { return (Q)_mm512_dpbusd_epi32((__m512i)acc, w, x); }
  static F to_floats(Q a) { return _mm512_cvtepi32_ps((__m512i)a); }
  static F load_bytes_as_floats(const std::uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static void store_bytes(std::int8_t* p, F a) {
    _mm512_mask_cvtsepi32_storeu_epi8(p, 0xFFFF, _mm512_cvtps_epi32(a));
  }

 private:
  static F widened(__m256i bfloats) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bfloats), 16));
  }
  static __mmask16 mask(std::size_t n) { return static_cast<__mmask16>((1U << n) - 1); }
};

}  // namespace
