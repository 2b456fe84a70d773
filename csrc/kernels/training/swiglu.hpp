// SwiGLU. Local to the file that includes it; see kernels.hpp.
#pragma once

#include "kernels/training/lanes.hpp"

namespace castline::kernels {
namespace {

Lanes sigmoid(Lanes x) {
  const Lanes one = Lanes::all(1.0F);
  return one / (one + exp(Lanes::all(0.0F) - x));
}

template <class T>
void swiglu(const T* gate, std::int64_t gate_stride, const T* up, std::int64_t up_stride, T* y,
            std::int64_t rows, std::int64_t size) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for_blocks(size, [&](auto block) {
      const Lanes v = block.load(gate);
      block.store(v * sigmoid(v) * block.load(up), y);
    });
    gate += gate_stride;
    up += up_stride;
    y += size;
  }
}

template <class T>
void swiglu_backward(const T* g, const T* gate, std::int64_t gate_stride, const T* up, std::int64_t up_stride,
                     T* dgate, T* dup, T* y, std::int64_t rows, std::int64_t size) {
  const Lanes one = Lanes::all(1.0F);
  for (std::int64_t row = 0; row < rows; ++row) {
    for_blocks(size, [&](auto block) {
      const Lanes v = block.load(gate);
      const Lanes gradient = block.load(g);
      const Lanes s = sigmoid(v);
      const Lanes u = block.load(up);
      block.store(gradient * u * (s * (one + v * (one - s))), dgate);
      block.store(gradient * (v * s), dup);
      if (y != nullptr) block.store(v * s * u, y);
    });
    g += size;
    gate += gate_stride;
    up += up_stride;
    dgate += size;
    dup += size;
    if (y != nullptr) y += size;
  }
}

}  // namespace
}  // namespace castline::kernels
