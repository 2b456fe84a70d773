#include "kernels/training/kernels.hpp"

namespace castline::kernels {

const LevelKernels& training_kernels(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::avx512) return kTrainingAvx512;
  if (level == CpuLevel::avx2) return kTrainingAvx2;
#else
  (void)level;
#endif
  return kTrainingScalar;
}

}  // namespace castline::kernels
