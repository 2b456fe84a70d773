// Rotary position embedding. Local to the file that includes it; see kernels.hpp.
#pragma once

#include "kernels/training/kernels.hpp"
#include "kernels/training/lanes.hpp"

namespace castline::kernels {
namespace {

template <class T>
void rope(const T* x, const Heads& heads, const float* cos, const float* sin, float direction, T* y,
          std::int64_t rows) {
  const std::int64_t half = heads.size / 2;
  const Lanes sign = Lanes::all(direction);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t outer = 0; outer < heads.outer; ++outer) {
      for (std::int64_t inner = 0; inner < heads.inner; ++inner) {
        const T* head =
            x + row * heads.token_stride + outer * heads.outer_stride + inner * heads.inner_stride;
        for_blocks(half, [&](auto block) {
          const Lanes c = block.load(cos);
          const Lanes s = block.load(sin) * sign;
          const Lanes first = block.load(head);
          const Lanes second = block.load(head + half);
          block.store(first * c - second * s, y);
          block.store(second * c + first * s, y + half);
        });
        y += heads.size;
      }
    }
    cos += half;
    sin += half;
  }
}

}  // namespace
}  // namespace castline::kernels
