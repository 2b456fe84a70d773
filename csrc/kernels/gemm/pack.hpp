// Packing a strip of a matrix into a panel. Local to the file that includes it; see micro.hpp.
#pragma once

#include <cstring>

#include "kernels/gemm/micro.hpp"

namespace castline::kernels {
namespace {

inline float widen(float x) { return x; }
inline float widen(BFloat16 x) {
  const std::uint32_t bits = std::uint32_t{x.bits} << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

template <class T>
void pack(const T* source, std::int64_t lane_stride, std::int64_t depth_stride, std::int64_t lanes,
          std::int64_t width, std::int64_t depth, float* panel) {
  if (lanes < width) std::memset(panel, 0, static_cast<std::size_t>(depth * width) * sizeof(float));
  if (lane_stride == 1) {
    for (std::int64_t p = 0; p < depth; ++p) {
      const T* from = source + p * depth_stride;
      float* to = panel + p * width;
      for (std::int64_t i = 0; i < lanes; ++i) to[i] = widen(from[i]);
    }
    return;
  }
  // Eight steps of depth at a time: each strip of source is read whole while its cache line is there.
  constexpr std::int64_t kSteps = 8;
  std::int64_t p = 0;
  for (; p + kSteps <= depth; p += kSteps) {
    for (std::int64_t i = 0; i < lanes; ++i) {
      const T* from = source + i * lane_stride + p * depth_stride;
      float* to = panel + p * width + i;
      for (std::int64_t s = 0; s < kSteps; ++s) to[s * width] = widen(from[s * depth_stride]);
    }
  }
  for (; p < depth; ++p) {
    for (std::int64_t i = 0; i < lanes; ++i) {
      panel[p * width + i] = widen(source[i * lane_stride + p * depth_stride]);
    }
  }
}

}  // namespace
}  // namespace castline::kernels
