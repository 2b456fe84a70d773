// The inner loop of MinHash, once per instruction set; all give the same numbers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace castline::text {

/// Permutations are handled in groups of this many.
constexpr std::size_t kMinHashGroup = 32;

/// minima[i] = min(minima[i], min over j of multipliers[i] * values[j] + offsets[i] modulo 2^32), for i below
/// `permutations`, a multiple of kMinHashGroup.
void minhash_scalar(const std::uint32_t* values, std::size_t count, const std::uint32_t* multipliers,
                    const std::uint32_t* offsets, std::uint32_t* minima, std::size_t permutations);
void minhash_avx2(const std::uint32_t* values, std::size_t count, const std::uint32_t* multipliers,
                  const std::uint32_t* offsets, std::uint32_t* minima, std::size_t permutations);

}  // namespace castline::text
