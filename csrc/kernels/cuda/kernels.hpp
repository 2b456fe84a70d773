// The training kernels on CUDA: a table of the same shape as the CPU's, whose entries launch on a stream.
#pragma once

#include "kernels/training/kernels.hpp"

namespace castline::kernels::cuda {

/// The kernels that this thread launches until the next call go to this device and stream, a cudaStream_t.
/// They return before the work is done; a launch that fails throws a device error.
void use(int device, void* stream);

/// All pointers are to memory of that device.
extern const LevelKernels kTraining;

/// sum [count] = values, or += values where `add`.
template <class T>
void accumulate(const T* values, float* sum, std::int64_t count, bool add);

}  // namespace castline::kernels::cuda
