// The fused training kernels: forward and backward of the decoder's element-wise and row-wise ops.
//
// All tensors are row-major. A kernel works on `rows` rows from the pointers it is given, so a caller splits
// rows over threads by moving the pointers; rows do not influence each other, but for the weight gradient of
// the norm. Sums run in an order that depends on neither thread count nor instruction set. kernels/cuda has a
// table of the same shape.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.hpp"
#include "kernels/cpu_features.hpp"

namespace castline::kernels {

/// The heads of a tensor [tokens, outer, inner, size], dense in `size`: how far apart they lie, in elements.
struct HeadStrides {
  std::int64_t token;
  std::int64_t outer;
  std::int64_t inner;
};

/// How many heads a token has, and how long they are; `size` is even.
struct Heads {
  std::int64_t outer;
  std::int64_t inner;
  std::int64_t size;
};

/// T is the storage type: float or BFloat16.
template <class T>
struct TrainingKernels {
  /// y = x / sqrt(mean(x²) + eps), rounded to T, times weight. Where `residual` is not null, x + residual
  /// takes the place of x and is written to `total`. `inverse_rms` [rows] is kept for the backward pass.
  void (*rms_norm)(const T* x, const T* residual, const T* weight, float eps, T* y, T* total,
                   float* inverse_rms, std::int64_t rows, std::int64_t size);

  /// Given g = dL/dy and n = x · inverse_rms:
  /// dx = inverse_rms · (g·weight - n · mean(g·weight·n)) + g_total, and dweight [ceil(rows / block), size]
  /// gets the sum of g·n over each `block` rows. `g_total`, the gradient of the total, may be null.
  void (*rms_norm_backward)(const T* g, const T* g_total, const T* x, const T* weight,
                            const float* inverse_rms, T* dx, float* dweight, std::int64_t rows,
                            std::int64_t size, std::int64_t block);

  /// Rotates each head's pairs (x[i], x[i + size/2]) by the token's angles: cos and sin [rows, size/2].
  /// `direction` 1 is forward, -1 the inverse, which is also the gradient.
  void (*rope)(const T* x, const HeadStrides& x_strides, const Heads& heads, const float* cos,
               const float* sin, float direction, T* y, const HeadStrides& y_strides, std::int64_t rows);

  /// Copies heads as they are.
  void (*copy_heads)(const T* x, const HeadStrides& x_strides, const Heads& heads, T* y,
                     const HeadStrides& y_strides, std::int64_t rows);

  /// y = silu(gate) · up; the strides are those of the rows of gate and up.
  void (*swiglu)(const T* gate, std::int64_t gate_stride, const T* up, std::int64_t up_stride, T* y,
                 std::int64_t rows, std::int64_t size);

  /// dgate = g · up · s · (1 + gate · (1 - s)) with s = sigmoid(gate), dup = g · silu(gate); both dense.
  /// Where `y` is not null it gets silu(gate) · up again; it may be `g`, which it then replaces.
  void (*swiglu_backward)(const T* g, const T* gate, std::int64_t gate_stride, const T* up,
                          std::int64_t up_stride, T* dgate, T* dup, T* y, std::int64_t rows,
                          std::int64_t size);
};

/// What works on float32 whatever the storage type.
struct FloatKernels {
  /// For each row: loss = log(sum(exp(logits))) - logits[target], and, where `gradient` is set, logits become
  /// softmax(logits) - onehot(target). A row whose target is `ignored` has loss 0 and gradient 0.
  void (*cross_entropy)(float* logits, const std::int64_t* targets, std::int64_t ignored, bool gradient,
                        float* losses, std::int64_t rows, std::int64_t size);

  /// sum [size] = the sum of the rows of parts [rows, size], in order.
  void (*sum_rows)(const float* parts, std::int64_t rows, std::int64_t size, float* sum);

  /// *sum = the sum of the values, carried in double precision.
  void (*sum)(const float* values, std::int64_t count, float* sum);
};

/// The kernels of one level.
struct LevelKernels {
  TrainingKernels<float> f32;
  TrainingKernels<BFloat16> bf16;
  FloatKernels floats;
};

/// `level` is at most detected_cpu_level().
const LevelKernels& training_kernels(CpuLevel level);

extern const LevelKernels kTrainingScalar;
extern const LevelKernels kTrainingAvx2;
extern const LevelKernels kTrainingAvx512;

}  // namespace castline::kernels
