// Choosing the next token from logits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace castline {

struct SamplingOptions {
  float temperature = 0.0F;  ///< 0: greedy, the rest is then without effect
  std::size_t top_k = 0;     ///< keep the k likeliest tokens; 0: all
  float top_p = 1.0F;        ///< keep the likeliest tokens that together reach this probability
  std::uint64_t seed = 0;
};

/// Draws tokens. The draw at a step depends on the seed, the step and the logits, on nothing before.
class Sampler {
 public:
  /// Throws a usage error for an option out of range.
  explicit Sampler(const SamplingOptions& options);

  /// The token at `step` of the sequence; greedy takes the lowest id among equals. Throws a data error where
  /// the logits have no largest number (NaN).
  std::uint32_t pick(std::span<const float> logits, std::uint64_t step);

 private:
  std::uint32_t draw(std::span<const float> logits, std::uint64_t step);

  SamplingOptions options_;
  std::vector<std::pair<float, std::uint32_t>> candidates_;
  std::vector<double> weights_;
};

/// The index of the largest logit, the first among equals. Throws a data error where there is none (NaN).
std::uint32_t argmax(std::span<const float> logits);

}  // namespace castline
