// MinHash signatures (Broder 1997) and the bands that make near-duplicates meet (Leskovec, Rajaraman, Ullman,
// Mining of Massive Datasets, section 3.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu_features.hpp"

namespace castline::text {

constexpr std::uint32_t kNoShingle = 0xFFFFFFFFu;

/// The signature of a set of shingles: for each permutation i of the 32-bit numbers, the minimum over the set
/// of a_i * x + b_i modulo 2^32, where x is the low half of a shingle's hash and a_i is odd. The parameters
/// come from SplitMix64 with a fixed seed, so signatures compare across machines and versions; each one's
/// first permutations are those of a longer one. Two signatures agree in a place with the probability of the
/// sets' Jaccard similarity.
class MinHasher {
 public:
  /// Throws a usage error where `permutations` is not between 1 and 4,096.
  explicit MinHasher(std::size_t permutations, kernels::CpuLevel level = kernels::cpu_level());

  std::size_t permutations() const { return permutations_; }

  /// Writes the signature of `shingles` (repeats do no harm); of the empty set, kNoShingle everywhere.
  void operator()(std::span<const std::uint64_t> shingles, std::span<std::uint32_t> signature);

 private:
  std::size_t permutations_;
  kernels::CpuLevel level_;
  std::vector<std::uint32_t> multipliers_;  // padded to whole groups of kernel lanes
  std::vector<std::uint32_t> offsets_;
  std::vector<std::uint32_t> minima_;
  std::vector<std::uint32_t> values_;
};

struct Banding {
  std::size_t bands = 0;
  std::size_t rows = 0;

  /// The chance that a pair of this Jaccard similarity agrees in a whole band.
  double recall(double similarity) const;
};

/// The banding with the most rows, so the fewest false candidates, that finds a pair at `threshold` with at
/// least the chance `recall`. Throws a usage error for numbers out of range or where no banding of so few
/// permutations does.
Banding choose_bands(double threshold, std::size_t permutations, double recall);

}  // namespace castline::text
