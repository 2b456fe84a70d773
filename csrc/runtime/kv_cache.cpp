#include "runtime/kv_cache.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/float16.hpp"

namespace castline {
namespace {

using kernels::kCacheBlock;
using kernels::kKeyBlock;

constexpr float kMost = 127.0F;

}  // namespace

void quantize_head(std::span<const float> x, std::int8_t* q, std::uint16_t* scale) {
  for (std::size_t begin = 0; begin < x.size(); begin += kCacheBlock, ++scale) {
    const std::span<const float> block = x.subspan(begin, std::min(kCacheBlock, x.size() - begin));
    float most = 0.0F;
    float poison = 0.0F;  // 0 · x is 0, or NaN for what is not finite
    for (const float v : block) {
      most = std::max(most, std::fabs(v));
      poison += 0.0F * v;
    }
    // Not below the exact one, so that the largest element needs no more than 127 of it.
    *scale = kernels::half_at_least(most / kMost + poison);
    const float unit = kernels::float_of_half(*scale);
    if (!(unit > 0.0F)) {  // all zeros, or not a number
      q = std::fill_n(q, block.size(), std::int8_t{0});
      continue;
    }
    const float inverse = 1.0F / unit;
    // Adding 1.5 · 2^23 rounds to a whole number, halves to even.
    for (const float v : block) {
      *q++ = static_cast<std::int8_t>((v * inverse + 12582912.0F) - 12582912.0F);
    }
  }
}

KvCache::KvCache(const ModelConfig& config, CacheFormat format, std::size_t capacity)
    : format_(format),
      heads_(config.num_key_value_heads),
      head_dim_(config.head_dim),
      capacity_(kernels::round_up(capacity, kKeyBlock)) {
  const std::size_t positions = config.num_hidden_layers * heads_ * capacity_;
  if (format == CacheFormat::f32) {
    keys_.reserve(positions * head_dim_);
    values_.reserve(positions * head_dim_);
  } else {
    key_bytes_.reserve(positions * head_dim_);
    value_bytes_.reserve(positions * head_dim_);
    key_scales_.reserve(positions * kernels::cache_blocks(head_dim_));
    value_scales_.reserve(positions * kernels::cache_blocks(head_dim_));
  }
}

void KvCache::store(std::size_t layer, std::size_t head, std::size_t position, const float* key,
                    const float* value) {
  const std::size_t index = layer * heads_ + head;
  if (format_ == CacheFormat::f32) {
    store_float(index, position, key, value);
  } else {
    store_int8(index, position, key, value);
  }
}

void KvCache::store_float(std::size_t index, std::size_t position, const float* key, const float* value) {
  const std::size_t offset = index * capacity_ * head_dim_;
  float* block = keys_.data() + offset + position / kKeyBlock * kKeyBlock * head_dim_;
  // A block is scored whole, so its unused positions must hold numbers.
  if (position % kKeyBlock == 0) std::fill_n(block, kKeyBlock * head_dim_, 0.0F);
  for (std::size_t i = 0; i < head_dim_; ++i) block[i * kKeyBlock + position % kKeyBlock] = key[i];
  std::memcpy(values_.data() + offset + position * head_dim_, value, head_dim_ * sizeof(float));
}

void KvCache::store_int8(std::size_t index, std::size_t position, const float* key, const float* value) {
  const std::size_t blocks = kernels::cache_blocks(head_dim_);
  const std::size_t offset = index * capacity_ * head_dim_;
  std::int8_t* keys = key_bytes_.data() + offset + position / kKeyBlock * kKeyBlock * head_dim_;
  std::uint16_t* key_scales =
      key_scales_.data() + (index * capacity_ + position / kKeyBlock * kKeyBlock) * blocks;
  if (position % kKeyBlock == 0) {
    std::fill_n(keys, kKeyBlock * head_dim_, std::int8_t{0});
    std::fill_n(key_scales, kKeyBlock * blocks, std::uint16_t{0});
  }
  // Room for one head: a row of bytes and its scales, spread over their places afterwards.
  thread_local AlignedBuffer<std::int8_t> row;
  thread_local AlignedBuffer<std::uint16_t> scales;
  row.reserve(head_dim_);
  scales.reserve(blocks);
  quantize_head({key, head_dim_}, row.data(), scales.data());
  for (std::size_t i = 0; i < head_dim_; ++i) keys[i * kKeyBlock + position % kKeyBlock] = row.data()[i];
  for (std::size_t b = 0; b < blocks; ++b) {
    key_scales[b * kKeyBlock + position % kKeyBlock] = scales.data()[b];
  }
  quantize_head({value, head_dim_}, value_bytes_.data() + offset + position * head_dim_, scales.data());
  std::uint16_t* value_scales = value_scales_.data() + index * blocks * capacity_ + position;
  for (std::size_t b = 0; b < blocks; ++b) value_scales[b * capacity_] = scales.data()[b];
}

void KvCache::attend(const kernels::DecoderKernels& kernels, const kernels::AttentionTask& task,
                     std::size_t layer, std::size_t head) const {
  const std::size_t index = layer * heads_ + head;
  const std::size_t offset = index * capacity_ * head_dim_;
  if (format_ == CacheFormat::f32) {
    kernels.attention(task, {keys_.data() + offset, values_.data() + offset});
    return;
  }
  const std::size_t scales = index * capacity_ * kernels::cache_blocks(head_dim_);
  kernels.attention_i8(task, {key_bytes_.data() + offset, key_scales_.data() + scales,
                              value_bytes_.data() + offset, value_scales_.data() + scales, capacity_});
}

}  // namespace castline
