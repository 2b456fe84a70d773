#if defined(__x86_64__)
#define CASTLINE_LANES_AVX512
#include "kernels/training/tables.hpp"

namespace castline::kernels {
const LevelKernels kTrainingAvx512 = kLevelKernels;
}  // namespace castline::kernels
#endif
