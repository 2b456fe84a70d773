#include "text/minhash_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace castline::text {
namespace {

inline __m256i load8(const std::uint32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store8(std::uint32_t* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

}  // namespace

// Four vectors of parameters and minima stay in registers while all values stream past from the first-level
// cache.
void minhash_avx2(const std::uint32_t* values, std::size_t count, const std::uint32_t* multipliers,
                  const std::uint32_t* offsets, std::uint32_t* minima, std::size_t permutations) {
  for (std::size_t i = 0; i < permutations; i += kMinHashGroup) {
    const __m256i a0 = load8(multipliers + i);
    const __m256i a1 = load8(multipliers + i + 8);
    const __m256i a2 = load8(multipliers + i + 16);
    const __m256i a3 = load8(multipliers + i + 24);
    const __m256i b0 = load8(offsets + i);
    const __m256i b1 = load8(offsets + i + 8);
    const __m256i b2 = load8(offsets + i + 16);
    const __m256i b3 = load8(offsets + i + 24);
    __m256i m0 = load8(minima + i);
    __m256i m1 = load8(minima + i + 8);
    __m256i m2 = load8(minima + i + 16);
    __m256i m3 = load8(minima + i + 24);
    for (std::size_t j = 0; j < count; ++j) {
      const __m256i x = _mm256_set1_epi32(static_cast<int>(values[j]));
      m0 = _mm256_min_epu32(m0, _mm256_add_epi32(_mm256_mullo_epi32(a0, x), b0));
      m1 = _mm256_min_epu32(m1, _mm256_add_epi32(_mm256_mullo_epi32(a1, x), b1));
      m2 = _mm256_min_epu32(m2, _mm256_add_epi32(_mm256_mullo_epi32(a2, x), b2));
      m3 = _mm256_min_epu32(m3, _mm256_add_epi32(_mm256_mullo_epi32(a3, x), b3));
    }
    store8(minima + i, m0);
    store8(minima + i + 8, m1);
    store8(minima + i + 16, m2);
    store8(minima + i + 24, m3);
  }
}

}  // namespace castline::text
#endif
