// The tables behind decoder_kernels(), one per source file; null where the architecture lacks the level.
#pragma once

#include "kernels/decoder_kernels.hpp"

namespace castline::kernels {

extern const DecoderKernels* const kDecoderScalar;
extern const DecoderKernels* const kDecoderAvx2;
extern const DecoderKernels* const kDecoderAvx512;

}  // namespace castline::kernels
