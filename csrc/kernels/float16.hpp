// The 16-bit floats as storage, one at a time; kernels have them in vectors.
#pragma once

#include <cstdint>

namespace castline::kernels {

/// The value of an IEEE 754 binary16.
inline float float_of_half(std::uint16_t half) {
  // The fields moved to where a float has them; the product makes up for the other bias, and for the
  // missing leading one of subnormal numbers.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7FFFU) << 13U;
  float value = 0.0F;
  __builtin_memcpy(&value, &magnitude, sizeof value);
  value *= 0x1p112F;
  std::uint32_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof bits);
  if (magnitude >= 0x0F800000U) bits |= 0x7F800000U;  // infinite, or not a number
  bits |= static_cast<std::uint32_t>(half & 0x8000U) << 16U;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

/// The smallest binary16 that is not below a value of 0 or more; the quiet NaN for what is beyond the largest
/// one, or not a number.
inline std::uint16_t half_at_least(float value) {
  constexpr float kLargest = 65504.0F;
  if (!(value <= kLargest)) return 0x7E00U;
  if (value < 0x1p-14F) {  // subnormal: a whole number of 2^-24
    const float scaled = value * 0x1p24F;
    const std::uint16_t whole = static_cast<std::uint16_t>(scaled);
    return static_cast<std::uint16_t>(static_cast<float>(whole) < scaled ? whole + 1 : whole);
  }
  // The exponent with a half's bias; fraction bits that a half lacks count up.
  std::uint32_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits - (112U << 23U) + 0x1FFFU) >> 13U);
}

/// The value of a bfloat16, the upper half of a float32.
inline float float_of_bfloat16(std::uint16_t upper) {
  const std::uint32_t bits = static_cast<std::uint32_t>(upper) << 16U;
  float value = 0.0F;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace castline::kernels
