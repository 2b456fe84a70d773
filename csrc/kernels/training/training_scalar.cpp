#include "kernels/training/tables.hpp"

namespace castline::kernels {
const LevelKernels kTrainingScalar = kLevelKernels;
}  // namespace castline::kernels
