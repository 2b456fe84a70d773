#include "text/minhash.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.hpp"
#include "text/minhash_kernels.hpp"

namespace castline::text {
namespace {

constexpr std::size_t kMostPermutations = 4096;
constexpr std::uint64_t kSeed = 20260101;

// SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t split_mix(std::uint64_t& state) {
  std::uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

}  // namespace

void minhash_scalar(const std::uint32_t* values, std::size_t count, const std::uint32_t* multipliers,
                    const std::uint32_t* offsets, std::uint32_t* minima, std::size_t permutations) {
  for (std::size_t j = 0; j < count; ++j) {
    for (std::size_t i = 0; i < permutations; ++i) {
      minima[i] = std::min(minima[i], multipliers[i] * values[j] + offsets[i]);
    }
  }
}

MinHasher::MinHasher(std::size_t permutations, kernels::CpuLevel level)
    : permutations_(permutations), level_(level) {
  if (permutations < 1 || permutations > kMostPermutations) {
    throw_usage("[minhash] expected 1 to 4096 permutations, but got " + std::to_string(permutations));
  }
  const std::size_t padded = (permutations + kMinHashGroup - 1) / kMinHashGroup * kMinHashGroup;
  std::uint64_t state = kSeed;
  for (std::size_t i = 0; i < padded; ++i) {
    const std::uint64_t random = split_mix(state);
    multipliers_.push_back(static_cast<std::uint32_t>(random) | 1u);
    offsets_.push_back(static_cast<std::uint32_t>(random >> 32));
  }
  minima_.resize(padded);
}

void MinHasher::operator()(std::span<const std::uint64_t> shingles, std::span<std::uint32_t> signature) {
  std::fill(minima_.begin(), minima_.end(), kNoShingle);
  constexpr std::size_t kBlock = 2048;  // values that stay in the first-level cache
  for (std::size_t begin = 0; begin < shingles.size(); begin += kBlock) {
    values_.clear();
    for (const std::uint64_t s : shingles.subspan(begin, std::min(kBlock, shingles.size() - begin))) {
      values_.push_back(static_cast<std::uint32_t>(s));
    }
#if defined(__x86_64__)
    if (level_ >= kernels::CpuLevel::avx2) {
      minhash_avx2(values_.data(), values_.size(), multipliers_.data(), offsets_.data(), minima_.data(),
                   minima_.size());
      continue;
    }
#endif
    minhash_scalar(values_.data(), values_.size(), multipliers_.data(), offsets_.data(), minima_.data(),
                   minima_.size());
  }
  std::copy_n(minima_.begin(), permutations_, signature.begin());
}

double Banding::recall(double similarity) const {
  const double band = std::pow(similarity, static_cast<double>(rows));
  return 1 - std::pow(1 - band, static_cast<double>(bands));
}

Banding choose_bands(double threshold, std::size_t permutations, double recall) {
  if (!(threshold > 0 && threshold <= 1)) {
    throw_usage("[duplicates] expected a threshold above 0 and at most 1, but got " +
                std::to_string(threshold));
  }
  if (!(recall > 0 && recall < 1)) {
    throw_usage("[duplicates] expected a recall between 0 and 1, but got " + std::to_string(recall));
  }
  if (permutations < 1 || permutations > kMostPermutations) {
    throw_usage("[duplicates] expected 1 to 4096 permutations, but got " + std::to_string(permutations));
  }
  for (std::size_t rows = permutations; rows >= 1; --rows) {
    const Banding banding{permutations / rows, rows};
    if (banding.recall(threshold) >= recall) return banding;
  }
  throw_usage("[duplicates] expected enough permutations for a recall of " + std::to_string(recall) +
              " at similarity " + std::to_string(threshold) + ", but got " + std::to_string(permutations));
}

}  // namespace castline::text
