// What a decoder computes, in the names of Hugging Face's config.json; read from package.json's `model`.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/json.hpp"

namespace castline {

struct ModelConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t intermediate_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t num_key_value_heads = 0;
  std::size_t head_dim = 0;
  std::size_t max_position_embeddings = 0;
  float rms_norm_eps = 0.0F;
  bool tie_word_embeddings = false;
  /// Angle per position of each pair of a head, scaling applied: [head_dim / 2].
  std::vector<float> rope_frequencies;

  /// Reads and checks the configuration of a model that runs with `max_context` positions (0: all that it was
  /// trained for). `rope_theta` goes before the model's own: the base that dynamic scaling has for
  /// `max_context`. Throws a data error that names the member in `where`.
  static ModelConfig from_json(const json::Value& model, std::size_t max_context,
                               std::optional<double> rope_theta, const std::string& where);
};

}  // namespace castline
