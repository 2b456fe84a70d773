#include "runtime/model_config.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "base/error.hpp"

namespace castline {
namespace {

// Far above any real model; keeps products of two sizes far from overflow.
constexpr std::int64_t kMaxExtent = std::int64_t{1} << 30;
constexpr std::size_t kMaxHeadDim = 65536;

std::size_t extent(const json::Value& object, std::string_view key, const std::string& where) {
  const std::int64_t n = object.at(key, where).as_integer(where + "." + std::string(key));
  if (n < 1 || n > kMaxExtent) {
    throw_data("[" + where + "." + std::string(key) + "] expected a number from 1 to 2^30, but got " +
               std::to_string(n));
  }
  return static_cast<std::size_t>(n);
}

double positive(const json::Value& object, std::string_view key, const std::string& where) {
  const double x = object.at(key, where).as_number(where + "." + std::string(key));
  if (!(x > 0.0)) {
    throw_data("[" + where + "." + std::string(key) + "] expected a number above 0, but got " +
               std::to_string(x));
  }
  return x;
}

// The Llama 3.1 scheme: long wavelengths are slowed by `factor`, short ones kept, those between blended.
double llama3_frequency(double frequency, const json::Value& scaling, const std::string& where) {
  const double factor = positive(scaling, "factor", where);
  const double low = positive(scaling, "low_freq_factor", where);
  const double high = positive(scaling, "high_freq_factor", where);
  const double original = positive(scaling, "original_max_position_embeddings", where);
  if (high <= low) throw_data("[" + where + "] expected high_freq_factor above low_freq_factor");
  const double turns = original * frequency / (2.0 * std::numbers::pi);  // over the original context
  const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
  return (1.0 - kept) * frequency / factor + kept * frequency;
}

// `resolved`: instead of the model's, the base that dynamic scaling was given for `max_context`.
std::vector<float> scaled_frequencies(const json::Value& model, const ModelConfig& config,
                                      std::size_t max_context, std::optional<double> resolved,
                                      const std::string& where) {
  const double theta = resolved.value_or(positive(model, "rope_theta", where));
  const json::Value* scaling = model.find("rope_scaling");
  const std::string at = where + ".rope_scaling";
  std::string type = "default";
  if (scaling != nullptr && !scaling->is_null()) {
    // Older configurations say `type`.
    const json::Value* name = scaling->find("rope_type");
    type = (name != nullptr ? *name : scaling->at("type", at)).as_string(at);
  }
  if (type != "default" && type != "linear" && type != "llama3" && type != "dynamic") {
    throw_data("[" + at + "] expected rope_type default, linear, dynamic or llama3, but got '" + type +
               "'; this runtime does not compute it");
  }
  // Dynamic NTK changes the base only past the trained length. The base for the package's context is settled
  // when it is compiled: one that follows the text would make a result depend on how the text arrived.
  if (type == "dynamic" && !resolved && max_context > config.max_position_embeddings) {
    throw_data("[" + at + "] expected generation.rope_theta, the base of dynamic scaling for a context of " +
               std::to_string(max_context) +
               " beyond max_position_embeddings = " + std::to_string(config.max_position_embeddings) +
               ", but found none; compile the package again");
  }
  std::vector<float> frequencies(config.head_dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    // Rounded where PyTorch rounds: at position 100,000, a frequency's last bit is worth 0.01 radians.
    const double exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    const double power = std::pow(static_cast<double>(static_cast<float>(theta)), exponent);
    double frequency = 1.0F / static_cast<float>(power);
    if (type == "linear") frequency /= positive(*scaling, "factor", at);
    if (type == "llama3") frequency = llama3_frequency(frequency, *scaling, at);
    frequencies[i] = static_cast<float>(frequency);
  }
  return frequencies;
}

}  // namespace

ModelConfig ModelConfig::from_json(const json::Value& model, std::size_t max_context,
                                   std::optional<double> rope_theta, const std::string& where) {
  ModelConfig config;
  config.vocab_size = extent(model, "vocab_size", where);
  config.hidden_size = extent(model, "hidden_size", where);
  config.intermediate_size = extent(model, "intermediate_size", where);
  config.num_hidden_layers = extent(model, "num_hidden_layers", where);
  config.num_attention_heads = extent(model, "num_attention_heads", where);
  config.num_key_value_heads = extent(model, "num_key_value_heads", where);
  config.max_position_embeddings = extent(model, "max_position_embeddings", where);
  config.rms_norm_eps = static_cast<float>(positive(model, "rms_norm_eps", where));
  config.tie_word_embeddings = model.at("tie_word_embeddings", where).as_bool(where + ".tie_word_embeddings");
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    throw_data(
        "[" + where + "] expected num_attention_heads to be a multiple of num_key_value_heads, but got " +
        std::to_string(config.num_attention_heads) + " and " + std::to_string(config.num_key_value_heads));
  }
  const json::Value* head_dim = model.find("head_dim");
  if (head_dim != nullptr && !head_dim->is_null()) {
    config.head_dim = extent(model, "head_dim", where);
  } else if (config.hidden_size % config.num_attention_heads == 0) {
    config.head_dim = config.hidden_size / config.num_attention_heads;
  } else {
    throw_data("[" + where +
               "] expected head_dim, or hidden_size to be a multiple of num_attention_heads, but got " +
               std::to_string(config.hidden_size) + " and " + std::to_string(config.num_attention_heads));
  }
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    throw_data("[" + where + ".head_dim] expected an even number up to " + std::to_string(kMaxHeadDim) +
               ", but got " + std::to_string(config.head_dim));
  }
  config.rope_frequencies = scaled_frequencies(model, config, max_context, rope_theta, where);
  return config;
}

}  // namespace castline
