// The inner loops of running a decoder, one table of functions per instruction set.
//
// Every function computes each output in an order that depends on the output's own inputs alone, never
// on how many rows or channels a call covers. So splitting work over threads, or a sequence into prefill
// and decoding, changes no bit. Between levels, floats differ in rounding; integer products do not.
//
// Matrices are row-major. A weight matrix is [channels, size] as a checkpoint stores it, read in place.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu_features.hpp"

namespace castline::kernels {

/// A dot product is summed in blocks of so many elements; int8 weights meet activations that are
/// quantised with one scale per block.
inline constexpr std::size_t kDotBlock = 1024;
/// Largest magnitude of a quantised activation: a block of products with int8 weights then fits 32 bits.
inline constexpr std::int32_t kActivationMax = 16383;
static_assert(static_cast<std::int64_t>(kDotBlock) * kActivationMax * 127 <= INT32_MAX);

/// Keys are cached transposed in blocks of so many positions: [position / 16][head_dim][16].
inline constexpr std::size_t kKeyBlock = 16;

/// int4 weights lie in groups of so many channels and blocks of so many elements; each block of activations
/// is quantised to int8 with a scale of its own.
inline constexpr std::size_t kInt4Group = 16;
inline constexpr std::size_t kInt4Block = 32;
inline constexpr std::size_t kInt4BlockBytes = kInt4Group * kInt4Block / 2;

/// A matrix [channels, size] of int4 weights, value = (q - zero) · scale, as cpu/weights.safetensors holds
/// it.
///
/// q is [groups, size / 32, 4, 16, 4] bytes: byte (g, b, j, c, e) holds, of channel 16 g + c, element
/// 32 b + 8 j + e in its low and element 32 b + 8 j + 4 + e in its high four bits. scale (float16) and zero
/// are [groups, ceil(size / block), 16]. Channels past the last one have scale 0. Written by
/// compile/int4_layout.py.
struct Int4Matrix {
  const std::uint8_t* q = nullptr;
  const std::uint16_t* scale = nullptr;
  const std::uint8_t* zero = nullptr;
  std::size_t size = 0;  ///< a multiple of kInt4Block
  std::size_t block =
      0;  ///< elements that share a scale: a multiple of kInt4Block; a row's last block may be shorter
};

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
/// Scales of one quantised row of `size` activations.
constexpr std::size_t dot_blocks(std::size_t size) { return (size + kDotBlock - 1) / kDotBlock; }

/// Elements of a cached int8 key or value that share a scale.
inline constexpr std::size_t kCacheBlock = 32;
/// Scales of a cached key or value; the last may serve fewer elements.
constexpr std::size_t cache_blocks(std::size_t head_dim) {
  return (head_dim + kCacheBlock - 1) / kCacheBlock;
}

/// The query heads that share a head of keys and values, attending to the cache from consecutive positions of
/// one sequence.
struct AttentionTask {
  const float* query;        ///< head h of position p at query + p * query_stride + h * head_dim, rotated
  std::size_t query_stride;  ///< between positions
  std::size_t heads;
  std::size_t positions;
  std::size_t first;  ///< the first of the positions; position p sees 0 … first + p
  std::size_t head_dim;
  float scale;    ///< multiplies the scores: 1 / sqrt(head_dim)
  float* scores;  ///< scratch, heads * positions * round_up(first + positions, kKeyBlock) floats
  float* out;     ///< as query
  std::size_t out_stride;
};

/// The keys and values of one head; at least first + positions of an AttentionTask, keys in whole blocks.
struct FloatCache {
  const float* keys;    ///< blocks as kKeyBlock describes
  const float* values;  ///< [positions, head_dim]
};

/// The same in int8: element i = q · scale of block i / kCacheBlock, the scales in float16.
struct Int8Cache {
  const std::int8_t* keys;            ///< as in FloatCache
  const std::uint16_t* key_scales;    ///< [position / 16][cache_blocks(head_dim)][16]
  const std::int8_t* values;          ///< [positions, head_dim]
  const std::uint16_t* value_scales;  ///< [cache_blocks(head_dim), capacity]
  std::size_t capacity;
};

struct DecoderKernels {
  /// y[r, c] = Σ x[r, i] · w[c, i] for r < rows, c < channels; y's rows are y_stride apart.
  void (*matmul_f32)(const float* x, std::size_t rows, const float* w, std::size_t channels, std::size_t size,
                     float* y, std::size_t y_stride);
  /// The same for float16 weights, sums in float32.
  void (*matmul_f16)(const float* x, std::size_t rows, const std::uint16_t* w, std::size_t channels,
                     std::size_t size, float* y, std::size_t y_stride);
  /// The same for bfloat16 weights, sums in float32.
  void (*matmul_bf16)(const float* x, std::size_t rows, const std::uint16_t* w, std::size_t channels,
                      std::size_t size, float* y, std::size_t y_stride);
  /// The same for int8 weights, w[c, i] = q[c, i] · w_scale[c], and activations from quantize.
  void (*matmul_i8)(const std::int16_t* x, const float* x_scale, std::size_t rows, const std::int8_t* w,
                    const float* w_scale, std::size_t channels, std::size_t size, float* y,
                    std::size_t y_stride);
  /// x[r, i] ≈ q[r, i] · scale[r, i / kDotBlock], symmetric, |q| ≤ kActivationMax; a block with a value
  /// that is not finite gets a NaN scale. scale: [rows, dot_blocks(size)].
  void (*quantize)(const float* x, std::size_t rows, std::size_t size, std::int16_t* q, float* scale);
  /// y[r, c] = Σ x[r, i] · w[c, i] for begin ≤ c < end, with activations from quantize_i8.
  void (*matmul_i4)(const std::int8_t* x, const float* x_scale, const float* x_sum, std::size_t rows,
                    const Int4Matrix& w, std::size_t begin, std::size_t end, float* y, std::size_t y_stride);
  /// x[r, i] ≈ q[r, i] · scale[r, i / kInt4Block], |q| ≤ 127; sum[r, b] = Σ q of block b. size is a multiple
  /// of kInt4Block; a block with a value that is not finite gets a NaN scale.
  void (*quantize_i8)(const float* x, std::size_t rows, std::size_t size, std::int8_t* q, float* scale,
                      float* sum);
  /// y = x / sqrt(mean(x²) + eps) · weight for one row (arXiv 1910.07467).
  void (*rms_norm)(const float* x, const float* weight, std::size_t size, float eps, float* y);
  /// Turns each of `heads` heads at x in place, element i with element i + head_dim / 2 (arXiv 2104.09864).
  void (*rope)(float* x, std::size_t heads, std::size_t head_dim, const float* cos, const float* sin);
  /// gate = silu(gate) · up (arXiv 2002.05202).
  void (*swiglu)(float* gate, const float* up, std::size_t size);
  /// x += y.
  void (*add)(float* x, const float* y, std::size_t size);
  /// out = softmax(scale · query · keysᵀ) · values over the positions a row may see.
  void (*attention)(const AttentionTask& task, const FloatCache& cache);
  void (*attention_i8)(const AttentionTask& task, const Int8Cache& cache);
  float (*maximum)(const float* x, std::size_t size);
  /// log Σ exp(x).
  float (*log_sum_exp)(const float* x, std::size_t size);
};

/// The table of a level that this build has. Throws a device error on an architecture without it.
const DecoderKernels& decoder_kernels(CpuLevel level);

}  // namespace castline::kernels
