// The table of one level's kernels. Included once by each of training_scalar, _avx2 and _avx512.
#pragma once

#include "kernels/training/cross_entropy.hpp"
#include "kernels/training/kernels.hpp"
#include "kernels/training/norm.hpp"
#include "kernels/training/rope.hpp"
#include "kernels/training/swiglu.hpp"

namespace castline::kernels {
namespace {

template <class T>
constexpr TrainingKernels<T> kTrainingKernels = {rms_norm<T>, rms_norm_backward<T>, rope<T>, copy_heads<T>,
                                                 swiglu<T>,   swiglu_backward<T>};

constexpr LevelKernels kLevelKernels = {
    kTrainingKernels<float>, kTrainingKernels<BFloat16>, {cross_entropy, sum_rows, sum}};

}  // namespace

}  // namespace castline::kernels
