#include "kernels/decoder_levels.hpp"

#if defined(__AVX512VNNI__)
#include "kernels/simd_avx512.hpp"
// Needs Simd.
#include "kernels/decoder_kernels.inl"

namespace castline::kernels {
const DecoderKernels* const kDecoderAvx512 = &kTable;
}  // namespace castline::kernels
#else
namespace castline::kernels {
const DecoderKernels* const kDecoderAvx512 = nullptr;
}  // namespace castline::kernels
#endif
