#include "text/ascii_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace castline::text {
namespace {

// Bytes from `first` to `first + span`, as 0xFF.
inline __m256i in_range(__m256i bytes, char first, char span) {
  const __m256i offset = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first));
  return _mm256_cmpeq_epi8(_mm256_min_epu8(offset, _mm256_set1_epi8(span)), offset);
}

inline __m256i equals(__m256i bytes, char c) { return _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(c)); }

inline std::uint64_t bits(__m256i bytes) { return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes)); }

}  // namespace

void classify_ascii_avx2(const char* text, std::size_t blocks, char* lower, AsciiMasks* masks) {
  for (std::size_t block = 0; block < blocks; ++block) {
    AsciiMasks found;
    for (unsigned half = 0; half < kAsciiBlock; half += 32) {
      const __m256i c =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + block * kAsciiBlock + half));
      const __m256i upper = in_range(c, 'A', 25);
      const __m256i low = _mm256_or_si256(c, _mm256_and_si256(upper, _mm256_set1_epi8(0x20)));
      const __m256i digit = in_range(c, '0', 9);
      const __m256i word = _mm256_or_si256(_mm256_or_si256(in_range(low, 'a', 25), digit), equals(c, '_'));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(lower + block * kAsciiBlock + half), low);
      found.word |= bits(word) << half;
      found.digit |= bits(digit) << half;
      found.joiner |= bits(_mm256_or_si256(equals(c, '.'), equals(c, '\''))) << half;
      found.comma |= bits(equals(c, ',')) << half;
    }
    masks[block] = found;
  }
}

}  // namespace castline::text
#endif
