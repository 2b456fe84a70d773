// The vector operations of the decoder kernels in plain C++: eight lanes that any compiler may vectorise.
// Included once, by the source file of its level; see cpu_features.hpp for why nothing here is shared.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/float16.hpp"

namespace {

struct Simd {
  static constexpr std::size_t kLanes = 8;    // floats per vector
  static constexpr std::size_t kShorts = 16;  // 16-bit integers per vector
  static constexpr int kRows = 2;             // rows of a register tile, times four channels
  struct F {
    float v[kLanes];
  };
  struct I {
    std::int32_t v[kLanes];
  };
  struct S {
    std::int16_t v[kShorts];
  };

  static F set(float a) {
    F r;
    for (float& e : r.v) e = a;
    return r;
  }
  static F load(const float* p) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = p[i];
    return r;
  }
  static F load(const float* p, std::size_t n) {
    F r = set(0.0F);
    for (std::size_t i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  static void store(float* p, const F& a) {
    for (std::size_t i = 0; i < kLanes; ++i) p[i] = a.v[i];
  }
  static void store(float* p, const F& a, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) p[i] = a.v[i];
  }
  static F add(const F& a, const F& b) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = a.v[i] + b.v[i];
    return r;
  }
  static F sub(const F& a, const F& b) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = a.v[i] - b.v[i];
    return r;
  }
  static F mul(const F& a, const F& b) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = a.v[i] * b.v[i];
    return r;
  }
  static F div(const F& a, const F& b) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = a.v[i] / b.v[i];
    return r;
  }
  /// a · b + c; rounded twice here, once where the processor has a fused instruction.
  static F fma(const F& a, const F& b, const F& c) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = a.v[i] * b.v[i] + c.v[i];
    return r;
  }
  /// The larger one; b where either is NaN.
  static F max(const F& a, const F& b) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return r;
  }
  /// The smaller one; b where either is NaN.
  static F min(const F& a, const F& b) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
    return r;
  }
  static F abs(const F& a) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = __builtin_fabsf(a.v[i]);
    return r;
  }
  /// To the nearest integer, halves to even, for |a| < 2^22: adding 1.5 · 2^23 leaves no fraction bits.
  static F round(const F& a) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = (a.v[i] + 12582912.0F) - 12582912.0F;
    return r;
  }
  /// 2^a for integers -126 ≤ a ≤ 127; NaN for NaN.
  static F power_of_two(const F& a) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i)
      r.v[i] = __builtin_ldexpf(1.0F, a.v[i] == a.v[i] ? static_cast<int>(a.v[i]) : 0);
    return r;
  }
  static void store_shorts(std::int16_t* p, const F& a, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) p[i] = static_cast<std::int16_t>(a.v[i]);
  }
  static float sum(const F& a) {
    return ((a.v[0] + a.v[4]) + (a.v[2] + a.v[6])) + ((a.v[1] + a.v[5]) + (a.v[3] + a.v[7]));
  }
  static float largest(const F& a) {
    float r = a.v[0];
    for (const float e : a.v) r = e > r ? e : r;
    return r;
  }
  static void sum4(const F* a, float* out) {
    for (int i = 0; i < 4; ++i) out[i] = sum(a[i]);
  }

  /// float16.
  static F load_halves(const std::uint16_t* p, std::size_t n = kLanes) {
    F r = set(0.0F);
    for (std::size_t i = 0; i < n; ++i) r.v[i] = castline::kernels::float_of_half(p[i]);
    return r;
  }
  static F load_bfloats(const std::uint16_t* p, std::size_t n = kLanes) {
    F r = set(0.0F);
    for (std::size_t i = 0; i < n; ++i) r.v[i] = castline::kernels::float_of_bfloat16(p[i]);
    return r;
  }
  /// Signed bytes.
  static F load_signed(const std::int8_t* p, std::size_t n = kLanes) {
    F r = set(0.0F);
    for (std::size_t i = 0; i < n; ++i) r.v[i] = static_cast<float>(p[i]);
    return r;
  }

  static I zero() { return I{}; }
  static S load_shorts(const std::int16_t* p) {
    S r;
    for (std::size_t i = 0; i < kShorts; ++i) r.v[i] = p[i];
    return r;
  }
  static S load_shorts(const std::int16_t* p, std::size_t n) {
    S r{};
    for (std::size_t i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  static S load_bytes(const std::int8_t* p) {
    S r;
    for (std::size_t i = 0; i < kShorts; ++i) r.v[i] = p[i];
    return r;
  }
  static S load_bytes(const std::int8_t* p, std::size_t n) {
    S r{};
    for (std::size_t i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  /// acc + the products of neighbouring pairs, added.
  static I dot(const I& acc, const S& a, const S& b) {
    I r;
    for (std::size_t i = 0; i < kLanes; ++i) {
      r.v[i] = acc.v[i] + a.v[2 * i] * b.v[2 * i] + a.v[2 * i + 1] * b.v[2 * i + 1];
    }
    return r;
  }
  static std::int32_t sum(const I& a) {
    std::int32_t r = 0;
    for (const std::int32_t e : a.v) r += e;
    return r;
  }
  static void sum4(const I* a, std::int32_t* out) {
    for (int i = 0; i < 4; ++i) out[i] = sum(a[i]);
  }

  // Int4 weights: four bytes per lane, and the sums of their products with four int8 activations.
  static constexpr int kInt4Rows = 2;  // rows of a register tile, times a group of channels
  struct B {
    std::uint8_t v[4 * kLanes];
  };
  using Q = I;
  static Q zero_quads() { return Q{}; }
  static B load_nibbles(const std::uint8_t* p) {
    B r;
    for (std::size_t i = 0; i < 4 * kLanes; ++i) r.v[i] = p[i];
    return r;
  }
  static B low_nibbles(const B& a) {
    B r;
    for (std::size_t i = 0; i < 4 * kLanes; ++i) r.v[i] = a.v[i] & 15U;
    return r;
  }
  static B high_nibbles(const B& a) {
    B r;
    for (std::size_t i = 0; i < 4 * kLanes; ++i) r.v[i] = static_cast<std::uint8_t>(a.v[i] >> 4U);
    return r;
  }
  /// The four bytes at p in every lane.
  static B broadcast_quad(const std::int8_t* p) {
    B r;
    for (std::size_t i = 0; i < 4 * kLanes; ++i) r.v[i] = static_cast<std::uint8_t>(p[i % 4]);
    return r;
  }
  /// acc + per lane the sum of four products; the bytes of w are unsigned, those of x signed.
  static Q dot_quads(const Q& acc, const B& w, const B& x) {
    Q r = acc;
    for (std::size_t i = 0; i < 4 * kLanes; ++i) r.v[i / 4] += w.v[i] * static_cast<std::int8_t>(x.v[i]);
    return r;
  }
  static F to_floats(const Q& a) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = static_cast<float>(a.v[i]);
    return r;
  }
  static F load_bytes_as_floats(const std::uint8_t* p) {
    F r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = static_cast<float>(p[i]);
    return r;
  }
  static void store_bytes(std::int8_t* p, const F& a) {
    for (std::size_t i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(a.v[i]);
  }
};

}  // namespace
