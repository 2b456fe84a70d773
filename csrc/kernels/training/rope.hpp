// Rotary position embedding. Local to the file that includes it; see kernels.hpp.
#pragma once

#include "kernels/training/kernels.hpp"
#include "kernels/training/lanes.hpp"

namespace castline::kernels {
namespace {

template <class T>
void rope(const T* x, const HeadStrides& x_strides, const Heads& heads, const float* cos, const float* sin,
          float direction, T* y, const HeadStrides& y_strides, std::int64_t rows) {
  const std::int64_t half = heads.size / 2;
  const Lanes sign = Lanes::all(direction);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t outer = 0; outer < heads.outer; ++outer) {
      for (std::int64_t inner = 0; inner < heads.inner; ++inner) {
        const T* from = x + row * x_strides.token + outer * x_strides.outer + inner * x_strides.inner;
        T* to = y + row * y_strides.token + outer * y_strides.outer + inner * y_strides.inner;
        for_blocks(half, [&](auto block) {
          const Lanes c = block.load(cos);
          const Lanes s = block.load(sin) * sign;
          const Lanes first = block.load(from);
          const Lanes second = block.load(from + half);
          block.store(first * c - second * s, to);
          block.store(second * c + first * s, to + half);
        });
      }
    }
    cos += half;
    sin += half;
  }
}

template <class T>
void copy_heads(const T* x, const HeadStrides& x_strides, const Heads& heads, T* y,
                const HeadStrides& y_strides, std::int64_t rows) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t outer = 0; outer < heads.outer; ++outer) {
      for (std::int64_t inner = 0; inner < heads.inner; ++inner) {
        std::memcpy(y + row * y_strides.token + outer * y_strides.outer + inner * y_strides.inner,
                    x + row * x_strides.token + outer * x_strides.outer + inner * x_strides.inner,
                    static_cast<std::size_t>(heads.size) * sizeof(T));
      }
    }
  }
}

}  // namespace
}  // namespace castline::kernels
