// The keys and values of one sequence, in float32 or in int8.
//
// In int8 a block of 32 elements of a head shares a float16 scale: 34 bytes where float32 takes 128. Each key
// and value is rounded once, when it comes; attention computes with what is stored, in float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/decoder_kernels.hpp"
#include "runtime/aligned_buffer.hpp"
#include "runtime/package.hpp"

namespace castline {

/// q[i] · scale[i / kCacheBlock] ≈ x[i], |q| ≤ 127; a block with a value that is not finite, or beyond 127
/// times the largest float16, gets a NaN scale. scale: float16, cache_blocks(x.size()) of them.
void quantize_head(std::span<const float> x, std::int8_t* q, std::uint16_t* scale);

class KvCache {
 public:
  /// Room for `capacity` positions.
  KvCache(const ModelConfig& config, CacheFormat format, std::size_t capacity);

  /// Puts key and value of one head there, [head_dim] each. Positions come in order.
  void store(std::size_t layer, std::size_t head, std::size_t position, const float* key, const float* value);

  /// One head attends, in the format of the cache.
  void attend(const kernels::DecoderKernels& kernels, const kernels::AttentionTask& task, std::size_t layer,
              std::size_t head) const;

 private:
  void store_float(std::size_t index, std::size_t position, const float* key, const float* value);
  void store_int8(std::size_t index, std::size_t position, const float* key, const float* value);

  CacheFormat format_;
  std::size_t heads_;
  std::size_t head_dim_;
  std::size_t capacity_;  // whole blocks of keys
  // Of head h of layer l, at index l * heads_ + h: keys and values of capacity_ positions, and their scales.
  AlignedBuffer<float> keys_, values_;
  AlignedBuffer<std::int8_t> key_bytes_, value_bytes_;
  AlignedBuffer<std::uint16_t> key_scales_, value_scales_;
};

}  // namespace castline
