#include <algorithm>

#include "kernels/gemm/gemm.hpp"
#include "ops/backend.hpp"

namespace castline::ops {
namespace {

const kernels::LevelKernels& level_kernels() { return kernels::training_kernels(kernels::cpu_level()); }

kernels::Operand operand(const Tensor& t) {
  return {t.const_data_ptr(), t.scalar_type() == ScalarType::BFloat16, t.stride(0), t.stride(1)};
}

}  // namespace

const std::int64_t kInnerRows = 256;

template <>
const kernels::TrainingKernels<float>& kernels_for() {
  return level_kernels().f32;
}

template <>
const kernels::TrainingKernels<kernels::BFloat16>& kernels_for() {
  return level_kernels().bf16;
}

const kernels::FloatKernels& float_kernels() { return level_kernels().floats; }

void for_rows(const Tensor&, std::int64_t count, std::int64_t size,
              const std::function<void(std::int64_t, std::int64_t)>& body) {
  constexpr std::int64_t kElements = 16384;  // that are worth waking a thread for
  torch::stable::parallel_for(0, count,
                              std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, size)), body);
}

void multiply(const Tensor& a, const Tensor& b, const Tensor& c, bool add) {
  static const kernels::ParallelFor parallel = [](std::size_t count, std::size_t grain, const auto& body) {
    torch::stable::parallel_for(0, static_cast<std::int64_t>(count), static_cast<std::int64_t>(grain),
                                [&](std::int64_t begin, std::int64_t end) {
                                  body(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
                                });
  };
  kernels::gemm(a.size(0), b.size(1), a.size(1), operand(a), operand(b), mutable_data<float>(c), c.size(1),
                add, kernels::cpu_level(), parallel);
}

void require_targets(const Tensor& targets, std::int64_t vocabulary, std::int64_t ignored, const char* op) {
  const auto* target = data<std::int64_t>(targets);
  for (std::int64_t i = 0; i < targets.numel(); ++i) {
    if (target[i] == ignored || (target[i] >= 0 && target[i] < vocabulary)) continue;
    require(false, op,
            "targets must be from 0 to " + std::to_string(vocabulary - 1) + " or " + std::to_string(ignored),
            std::to_string(target[i]) + " at " + std::to_string(i));
  }
}

Tensor product(const Tensor& a, const Tensor& b) {
  const Tensor c = empty_float(a, {a.size(0), b.size(1)});
  multiply(a, b, c, false);
  return in_type(c, a.scalar_type());
}

}  // namespace castline::ops
