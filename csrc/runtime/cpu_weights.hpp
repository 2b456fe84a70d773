// The weights of a decoder as cpu/weights.safetensors holds them, used in place.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/decoder_kernels.hpp"
#include "runtime/model_config.hpp"
#include "runtime/safetensors.hpp"

namespace castline {

enum class MatrixFormat { f32, int8, int4 };

/// The name of a format as `castline compile --weights` takes it.
std::string_view name_of(MatrixFormat format);

/// A weight matrix [channels, size]: F32, I8 with one scale per channel (value = q · scale), or int4.
struct Matrix {
  MatrixFormat format = MatrixFormat::f32;
  std::size_t channels = 0;
  std::size_t size = 0;
  const void* data = nullptr;
  const float* scale = nullptr;  ///< [channels] for int8
  kernels::Int4Matrix i4;        ///< for int4

  const float* f32(std::size_t channel = 0) const { return static_cast<const float*>(data) + channel * size; }
  const std::int8_t* i8(std::size_t channel = 0) const {
    return static_cast<const std::int8_t*>(data) + channel * size;
  }
};

struct LayerWeights {
  const float* input_norm;
  Matrix query, key, value, output;
  const float* post_attention_norm;
  Matrix gate, up, down;
};

struct DecoderWeights {
  Matrix embedding;  ///< [vocab_size, hidden_size]
  std::vector<LayerWeights> layers;
  const float* final_norm;
  Matrix head;  ///< the embedding itself where they are tied

  /// Finds every tensor that `config` asks for, with its shape, and nothing else in the file. Throws a data
  /// error that names the tensor.
  DecoderWeights(const Safetensors& file, const ModelConfig& config);
};

}  // namespace castline
