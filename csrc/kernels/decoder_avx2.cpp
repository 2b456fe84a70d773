#include "kernels/decoder_levels.hpp"

#if defined(__AVX2__)
#include "kernels/simd_avx2.hpp"
// Needs Simd.
#include "kernels/decoder_kernels.inl"

namespace castline::kernels {
const DecoderKernels* const kDecoderAvx2 = &kTable;
}  // namespace castline::kernels
#else
namespace castline::kernels {
const DecoderKernels* const kDecoderAvx2 = nullptr;
}  // namespace castline::kernels
#endif
