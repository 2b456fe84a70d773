#include "kernels/cuda/cross_entropy.cuh"
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/kernels.hpp"
#include "kernels/cuda/norm.cuh"

namespace castline::kernels::cuda {
namespace {

thread_local cudaStream_t stream_in_use = nullptr;

template <class T>
constexpr TrainingKernels<T> kKernels = {rms_norm<T>, rms_norm_backward<T>, rope<T>, copy_heads<T>,
                                         swiglu<T>,   swiglu_backward<T>};

}  // namespace

void use(int device, void* stream) {
  // PyTorch has made the device current already, but in its own copy of the CUDA runtime.
  const cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) {
    throw_device("[cuda] expected device " + std::to_string(device) + " to be usable, but got " +
                 cudaGetErrorString(error));
  }
  stream_in_use = static_cast<cudaStream_t>(stream);
}

cudaStream_t current_stream() { return stream_in_use; }

const LevelKernels kTraining = {kKernels<float>, kKernels<BFloat16>, {cross_entropy, sum_rows, sum}};

template void accumulate(const float* values, float* sum, std::int64_t count, bool add);
template void accumulate(const BFloat16* values, float* sum, std::int64_t count, bool add);

}  // namespace castline::kernels::cuda
