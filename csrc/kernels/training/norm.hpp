// RMSNorm, with and without the residual sum. Local to the file that includes it; see kernels.hpp.
#pragma once

#include "kernels/training/lanes.hpp"

namespace castline::kernels {
namespace {

template <class T>
void rms_norm(const T* x, const T* residual, const T* weight, float eps, T* y, T* total, float* inverse_rms,
              std::int64_t rows, std::int64_t size) {
  for (std::int64_t row = 0; row < rows; ++row) {
    Lanes squares = Lanes::all(0.0F);
    if (residual == nullptr) {
      for_blocks(size, [&](auto block) {
        const Lanes v = block.load(x);
        squares = squares + v * v;
      });
    } else {
      for_blocks(size, [&](auto block) {
        const Lanes v = rounded<T>(block.load(x) + block.load(residual));
        block.store(v, total);
        squares = squares + v * v;
      });
    }
    inverse_rms[row] = 1.0F / square_root(sum_lanes(squares) / static_cast<float>(size) + eps);
    const Lanes scale = Lanes::all(inverse_rms[row]);
    const T* input = residual == nullptr ? x : total;
    for_blocks(size, [&](auto block) {
      block.store(rounded<T>(block.load(input) * scale) * block.load(weight), y);
    });
    x += size;
    y += size;
    if (residual != nullptr) {
      residual += size;
      total += size;
    }
  }
}

template <class T>
void rms_norm_backward(const T* g, const T* g_total, const T* x, const T* weight, const float* inverse_rms,
                       T* dx, float* dweight, std::int64_t rows, std::int64_t size, std::int64_t block_rows) {
  for (std::int64_t row = 0; row < rows; ++row) {
    if (row % block_rows == 0) {
      if (row > 0) dweight += size;
      for_blocks(size, [&](auto block) { block.store(Lanes::all(0.0F), dweight); });
    }
    const Lanes scale = Lanes::all(inverse_rms[row]);
    Lanes products = Lanes::all(0.0F);
    for_blocks(size, [&](auto block) {
      const Lanes gradient_normed = block.load(g) * (block.load(x) * scale);
      block.store(block.load(dweight) + gradient_normed, dweight);
      products = products + gradient_normed * block.load(weight);
    });
    const Lanes mean = Lanes::all(sum_lanes(products) / static_cast<float>(size));
    for_blocks(size, [&](auto block) {
      const Lanes normed = block.load(x) * scale;
      Lanes d = (block.load(g) * block.load(weight) - normed * mean) * scale;
      if (g_total != nullptr) d = d + block.load(g_total);
      block.store(d, dx);
    });
    g += size;
    x += size;
    dx += size;
    if (g_total != nullptr) g_total += size;
  }
}

}  // namespace
}  // namespace castline::kernels
