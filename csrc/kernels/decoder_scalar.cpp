#include "kernels/decoder_levels.hpp"
#include "kernels/simd_scalar.hpp"
// Needs Simd.
#include "kernels/decoder_kernels.inl"

namespace castline::kernels {
const DecoderKernels* const kDecoderScalar = &kTable;
}  // namespace castline::kernels
