#include "runtime/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.hpp"

namespace castline {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014), its state set by seed and step: a generator that needs no history.
double uniform(std::uint64_t seed, std::uint64_t step) {
  const auto mix = [](std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  };
  constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ULL;
  const std::uint64_t bits = mix(mix(seed + kGolden) + (step + 1) * kGolden);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// By falling logit, then rising id: a total order, so that every machine cuts at the same place.
bool likelier(const std::pair<float, std::uint32_t>& a, const std::pair<float, std::uint32_t>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

}  // namespace

std::uint32_t argmax(std::span<const float> logits) {
  const auto most = std::max_element(logits.begin(), logits.end());
  if (most == logits.end() || !std::isfinite(*most)) {
    throw_data("[generate] expected finite logits, but got none; the weights hold NaN or overflow");
  }
  return static_cast<std::uint32_t>(most - logits.begin());
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  if (!(options.temperature >= 0.0F) || !std::isfinite(options.temperature)) {
    throw_usage("[generate] expected a temperature of 0 or more, but got " +
                std::to_string(options.temperature));
  }
  if (!(options.top_p > 0.0F && options.top_p <= 1.0F)) {
    throw_usage("[generate] expected top_p above 0 and at most 1, but got " + std::to_string(options.top_p));
  }
}

std::uint32_t Sampler::pick(std::span<const float> logits, std::uint64_t step) {
  return options_.temperature == 0.0F ? argmax(logits) : draw(logits, step);
}

std::uint32_t Sampler::draw(std::span<const float> logits, std::uint64_t step) {
  const float most = logits[argmax(logits)];
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i])) candidates_.emplace_back(logits[i], static_cast<std::uint32_t>(i));
  }
  if (options_.top_k > 0 && options_.top_k < candidates_.size()) {
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(options_.top_k);
    std::nth_element(candidates_.begin(), end, candidates_.end(), likelier);
    candidates_.erase(end, candidates_.end());
  }
  std::sort(candidates_.begin(), candidates_.end(), likelier);
  weights_.clear();
  double total = 0.0;
  for (const auto& [logit, id] : candidates_) {
    const double difference = static_cast<double>(logit) - static_cast<double>(most);
    weights_.push_back(std::exp(difference / static_cast<double>(options_.temperature)));
    total += weights_.back();
  }
  // top_p is a share of what top_k left.
  double kept = 0.0;
  std::size_t count = 0;
  while (count < weights_.size() && kept < static_cast<double>(options_.top_p) * total)
    kept += weights_[count++];
  double left = uniform(options_.seed, step) * kept;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    left -= weights_[i];
    if (left < 0.0) return candidates_[i].second;
  }
  return candidates_[count - 1].second;
}

}  // namespace castline
