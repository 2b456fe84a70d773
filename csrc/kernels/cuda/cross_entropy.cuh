// Cross-entropy and plain sums on CUDA. See kernels/training/kernels.hpp.
#pragma once

#include <cmath>

#include "kernels/cuda/device.cuh"

namespace castline::kernels::cuda {

// A block per row: the highest logit and the sum of exponentials in one pass, the gradient in a second.
template <int N>
__global__ void cross_entropy_rows(float* logits, const std::int64_t* targets, std::int64_t ignored,
                                   bool gradient, float* losses, std::int64_t size) {
  float* row = logits + static_cast<std::int64_t>(blockIdx.x) * size;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * N;
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * N;
  const std::int64_t target = targets[blockIdx.x];
  if (target == ignored) {
    if (threadIdx.x == 0) losses[blockIdx.x] = 0.0F;
    for (std::int64_t i = first; gradient && i < size; i += step) store(Floats<N>{}, row + i);
    return;
  }
  float highest = -INFINITY;
  float sum = 0.0F;  // of exp(logit - highest) so far
  for (std::int64_t i = first; i < size; i += step) {
    const Floats<N> x = load<N>(row + i);
    float higher = highest;
    for (int k = 0; k < N; ++k) higher = x.at[k] > higher ? x.at[k] : higher;
    if (higher > highest) sum = sum * expf(highest - higher);
    highest = higher;
    for (int k = 0; k < N; ++k) sum += x.at[k] == -INFINITY ? 0.0F : expf(x.at[k] - highest);
  }
  const float base = over_block(highest, Larger());
  sum = over_block(sum == 0.0F ? 0.0F : sum * expf(highest - base), Add());
  // The host cannot look at targets before the launch: one out of range has no loss, which NaN says.
  const bool known = target >= 0 && target < size;
  if (threadIdx.x == 0) losses[blockIdx.x] = known ? logf(sum) + base - row[target] : NAN;
  if (!gradient) return;
  __syncthreads();  // the target's logit has been read
  const float scale = 1.0F / sum;
  for (std::int64_t i = first; i < size; i += step) {
    Floats<N> x = load<N>(row + i);
    for (int k = 0; k < N; ++k) x.at[k] = expf(x.at[k] - base) * scale - (i + k == target ? 1.0F : 0.0F);
    store(x, row + i);
  }
}

// A thread per column.
__global__ void sum_columns(const float* parts, std::int64_t rows, std::int64_t size, float* sum) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= size) return;
  float total = 0.0F;
  for (std::int64_t row = 0; row < rows; ++row) total += parts[row * size + column];
  sum[column] = total;
}

// One block.
__global__ void sum_all(const float* values, std::int64_t count, float* sum) {
  double total = 0.0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) total += static_cast<double>(values[i]);
  total = over_block(total, Add());
  if (threadIdx.x == 0) *sum = static_cast<float>(total);
}

// A thread per element.
template <class T>
__global__ void accumulate_elements(const T* values, float* sum, std::int64_t count, bool add) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= count) return;
  sum[index] = widened(values[index]) + (add ? sum[index] : 0.0F);
}

inline void cross_entropy(float* logits, const std::int64_t* targets, std::int64_t ignored, bool gradient,
                          float* losses, std::int64_t rows, std::int64_t size) {
  constexpr int kN = kWide<float>;
  const bool wide = can_be_wide<float>({size}, {logits});
  launch("cross_entropy", wide ? cross_entropy_rows<kN> : cross_entropy_rows<1>, {rows},
         threads_for(wide ? size / kN : size), logits, targets, ignored, gradient, losses, size);
}

inline void sum_rows(const float* parts, std::int64_t rows, std::int64_t size, float* sum) {
  launch("sum_rows", sum_columns, {blocks_for(size, kThreads)}, kThreads, parts, rows, size, sum);
}

inline void sum(const float* values, std::int64_t count, float* sum) {
  launch("sum", sum_all, {1}, kThreads, values, count, sum);
}

template <class T>
void accumulate(const T* values, float* sum, std::int64_t count, bool add) {
  launch("accumulate", accumulate_elements<T>, {blocks_for(count, kThreads)}, kThreads, values, sum, count,
         add);
}

}  // namespace castline::kernels::cuda
