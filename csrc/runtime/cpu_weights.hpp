// The weights of a decoder as cpu/weights.safetensors holds them, used in place.
//
// Tensors have the names of a Llama checkpoint, and each says by its type how it is stored, so a file may mix
// formats freely, embeddings and head included:
//
//   F32, F16, BF16   [channels, size]
//   I8               [channels, size], with `<name>.scale` F32 [channels]: value = q · scale
//   U8               int4 as kernels::Int4Matrix describes, with `<name>.scale` F16 and `<name>.zero` U8,
//   both
//                    [channels / 16, blocks, 16]; size is a multiple of 32, and the number of blocks says
//                    whether 32, 64 or 128 elements share a scale
//
// Norms are F32. Where embeddings and head are tied there is no lm_head.weight. Tensors named padding.N are
// skipped: they keep the others at multiples of 64 bytes. The writer is compile/cpu_weights.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/decoder_kernels.hpp"
#include "runtime/model_config.hpp"
#include "runtime/safetensors.hpp"

namespace castline {

enum class MatrixFormat { f32, f16, bf16, int8, int4 };

/// The name of a format as `castline compile --weights` takes it.
std::string_view name_of(MatrixFormat format);

/// A weight matrix [channels, size] in any format.
struct Matrix {
  MatrixFormat format = MatrixFormat::f32;
  std::size_t channels = 0;
  std::size_t size = 0;
  const void* data = nullptr;    ///< [channels, size], but for int4
  const float* scale = nullptr;  ///< [channels] for int8
  kernels::Int4Matrix i4;        ///< for int4

  const float* f32(std::size_t channel = 0) const { return static_cast<const float*>(data) + channel * size; }
  /// The bits of f16 or bf16.
  const std::uint16_t* f16(std::size_t channel = 0) const {
    return static_cast<const std::uint16_t*>(data) + channel * size;
  }
  const std::int8_t* i8(std::size_t channel = 0) const {
    return static_cast<const std::int8_t*>(data) + channel * size;
  }
  /// Writes one row as floats to `out`, [size].
  void row(std::size_t channel, float* out) const;
};

struct LayerWeights {
  const float* input_norm;
  Matrix query, key, value, output;
  const float* post_attention_norm;
  Matrix gate, up, down;

  std::array<const Matrix*, 7> matrices() const { return {&query, &key, &value, &output, &gate, &up, &down}; }
};

struct DecoderWeights {
  Matrix embedding;  ///< [vocab_size, hidden_size]
  std::vector<LayerWeights> layers;
  const float* final_norm;
  Matrix head;  ///< the embedding itself where they are tied
  bool tied = false;

  /// Finds every tensor that `config` asks for, with its shape, and nothing else in the file. Throws a data
  /// error that names the tensor.
  DecoderWeights(const Safetensors& file, const ModelConfig& config);

  /// How many matrices have each format; tied embeddings count once.
  std::map<MatrixFormat, std::size_t> formats() const;
  /// The format that most weights of the layers have.
  MatrixFormat main_format() const;
};

}  // namespace castline
