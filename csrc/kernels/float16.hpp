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

/// The value of a bfloat16, the upper half of a float32.
inline float float_of_bfloat16(std::uint16_t upper) {
  const std::uint32_t bits = static_cast<std::uint32_t>(upper) << 16U;
  float value = 0.0F;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace castline::kernels
