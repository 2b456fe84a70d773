#if defined(__x86_64__)
#define CASTLINE_LANES_AVX2
#include "kernels/training/tables.hpp"

namespace castline::kernels {
const LevelKernels kTrainingAvx2 = kLevelKernels;
}  // namespace castline::kernels
#endif
