// RMSNorm on CUDA: a block per row. See kernels/training/kernels.hpp.
#pragma once

#include "kernels/cuda/device.cuh"

namespace castline::kernels::cuda {

template <class T, int N>
__global__ void rms_norm_rows(const T* x, const T* residual, const T* weight, float eps, T* y, T* total,
                              float* inverse_rms, std::int64_t size) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * size;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * N;
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * N;
  float squares = 0.0F;
  for (std::int64_t i = first; i < size; i += step) {
    Floats<N> v = load<N>(x + row + i);
    if (residual != nullptr) {
      const Floats<N> r = load<N>(residual + row + i);
      for (int k = 0; k < N; ++k) v.at[k] = rounded<T>(v.at[k] + r.at[k]);
      store(v, total + row + i);
    }
    for (int k = 0; k < N; ++k) squares += v.at[k] * v.at[k];
  }
  squares = over_block(squares, Add());
  const float scale = 1.0F / sqrtf(squares / static_cast<float>(size) + eps);
  if (threadIdx.x == 0) inverse_rms[blockIdx.x] = scale;
  const T* input = residual != nullptr ? total : x;  // each thread reads back what it wrote itself
  for (std::int64_t i = first; i < size; i += step) {
    Floats<N> v = load<N>(input + row + i);
    const Floats<N> w = load<N>(weight + i);
    for (int k = 0; k < N; ++k) v.at[k] = rounded<T>(v.at[k] * scale) * w.at[k];
    store(v, y + row + i);
  }
}

template <class T, int N>
__global__ void rms_norm_gradient_rows(const T* g, const T* g_total, const T* x, const T* weight,
                                       const float* inverse_rms, T* dx, std::int64_t size) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * size;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * N;
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * N;
  const float scale = inverse_rms[blockIdx.x];
  float products = 0.0F;
  for (std::int64_t i = first; i < size; i += step) {
    const Floats<N> gradient = load<N>(g + row + i);
    const Floats<N> v = load<N>(x + row + i);
    const Floats<N> w = load<N>(weight + i);
    for (int k = 0; k < N; ++k) products += gradient.at[k] * (v.at[k] * scale) * w.at[k];
  }
  const float mean = over_block(products, Add()) / static_cast<float>(size);
  for (std::int64_t i = first; i < size; i += step) {
    const Floats<N> gradient = load<N>(g + row + i);
    const Floats<N> w = load<N>(weight + i);
    Floats<N> v = load<N>(x + row + i);
    for (int k = 0; k < N; ++k) v.at[k] = (gradient.at[k] * w.at[k] - v.at[k] * scale * mean) * scale;
    if (g_total != nullptr) {
      const Floats<N> more = load<N>(g_total + row + i);
      for (int k = 0; k < N; ++k) v.at[k] += more.at[k];
    }
    store(v, dx + row + i);
  }
}

// A thread per column and `block` rows.
template <class T>
__global__ void rms_norm_gradient_weight(const T* g, const T* x, const float* inverse_rms, float* dweight,
                                         std::int64_t rows, std::int64_t size, std::int64_t block) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= size) return;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * block;
  const std::int64_t last = first + block < rows ? first + block : rows;
  float sum = 0.0F;
  for (std::int64_t row = first; row < last; ++row) {
    sum += widened(g[row * size + column]) * (widened(x[row * size + column]) * inverse_rms[row]);
  }
  dweight[static_cast<std::int64_t>(blockIdx.y) * size + column] = sum;
}

template <class T>
void rms_norm(const T* x, const T* residual, const T* weight, float eps, T* y, T* total, float* inverse_rms,
              std::int64_t rows, std::int64_t size) {
  const bool wide = can_be_wide<T>({size}, {x, residual, weight, y, total});
  launch(total == nullptr ? "rms_norm" : "add_rms_norm",
         wide ? rms_norm_rows<T, kWide<T>> : rms_norm_rows<T, 1>, {rows},
         threads_for(wide ? size / kWide<T> : size), x, residual, weight, eps, y, total, inverse_rms, size);
}

template <class T>
void rms_norm_backward(const T* g, const T* g_total, const T* x, const T* weight, const float* inverse_rms,
                       T* dx, float* dweight, std::int64_t rows, std::int64_t size, std::int64_t block) {
  constexpr const char* kOp = "rms_norm_backward";
  const bool wide = can_be_wide<T>({size}, {g, g_total, x, weight, dx});
  launch(kOp, wide ? rms_norm_gradient_rows<T, kWide<T>> : rms_norm_gradient_rows<T, 1>, {rows},
         threads_for(wide ? size / kWide<T> : size), g, g_total, x, weight, inverse_rms, dx, size);
  // Narrow blocks: there are few of them, and every multiprocessor should get one.
  constexpr int kColumns = 64;
  launch(kOp, rms_norm_gradient_weight<T>, {blocks_for(size, kColumns), (rows + block - 1) / block}, kColumns,
         g, x, inverse_rms, dweight, rows, size, block);
}

}  // namespace castline::kernels::cuda
