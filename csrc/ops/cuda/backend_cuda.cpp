// The ops on CUDA: our kernels for rows and elements, PyTorch's matrix products.
#include <torch/csrc/stable/accelerator.h>

#include "kernels/cuda/kernels.hpp"
#include "ops/backend.hpp"

// Declared in PyTorch's shim for CUDA builds alone. Weak: it is in libtorch_cuda.so, which libtorch.so brings
// in where PyTorch is one, and this library can be linked and loaded where it is not.
extern "C" [[gnu::weak]] AOTITorchError aoti_torch_get_current_cuda_stream(std::int32_t device_index,
                                                                           void** stream);

namespace castline::ops {
namespace {

namespace cuda = kernels::cuda;

// Work goes to the device of a tensor and the stream that PyTorch uses there.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const Tensor& t) : guard_(t.get_device_index()) {
    void* stream = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
    cuda::use(t.get_device_index(), stream);
  }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
};

Tensor as_type(const Tensor& t, ScalarType type) {
  return t.scalar_type() == type ? t : torch::stable::to(t, type);
}

}  // namespace

const std::int64_t kInnerRows = 1024;

template <>
const kernels::TrainingKernels<float>& kernels_for() {
  return cuda::kTraining.f32;
}

template <>
const kernels::TrainingKernels<kernels::BFloat16>& kernels_for() {
  return cuda::kTraining.bf16;
}

const kernels::FloatKernels& float_kernels() { return cuda::kTraining.floats; }

void for_rows(const Tensor& like, std::int64_t count, std::int64_t,
              const std::function<void(std::int64_t, std::int64_t)>& body) {
  const OnDeviceOf device(like);
  body(0, count);
}

void multiply(const Tensor& a, const Tensor& b, const Tensor& c, bool add) {
  // bfloat16 wherever one side is, as in a product of bfloat16 tensors: summed in float32, rounded once.
  const ScalarType type = a.scalar_type() == b.scalar_type() ? a.scalar_type() : ScalarType::BFloat16;
  const Tensor result = torch::stable::matmul(as_type(a, type), as_type(b, type));
  const OnDeviceOf device(c);
  with_type(result, [&](auto element) {
    cuda::accumulate(data<decltype(element)>(result), mutable_data<float>(c), c.numel(), add);
  });
}

// Looking at them would wait for the device; the kernel makes the loss NaN instead.
void require_targets(const Tensor&, std::int64_t, std::int64_t, const char*) {}

Tensor product(const Tensor& a, const Tensor& b) { return torch::stable::matmul(a, b); }

}  // namespace castline::ops
