#include "ops/tensor.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace castline::ops {

std::string shape_of(const Tensor& t) {
  return shape_of(std::vector<std::int64_t>(t.sizes().begin(), t.sizes().end()));
}

std::string shape_of(const std::vector<std::int64_t>& sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text.append(text.empty() ? "[" : ", ").append(std::to_string(size));
  return text.append(text.empty() ? "[]" : "]");
}

void require(bool ok, const char* op, const std::string& rule, const std::string& value) {
  if (!ok) throw_usage("[" + std::string(op) + "] " + rule + ", but got " + value);
}

void require_float(const Tensor& t, const char* op, const char* name) {
  const ScalarType type = t.scalar_type();
  require(type == ScalarType::Float || type == ScalarType::BFloat16, op,
          std::string(name) + " must be float32 or bfloat16", toString(type));
}

void require_same_type(const Tensor& t, const Tensor& like, const char* op, const char* name) {
  require(t.scalar_type() == like.scalar_type(), op,
          std::string(name) + " must be of type " + toString(like.scalar_type()), toString(t.scalar_type()));
}

void require_same_shape(const Tensor& t, const Tensor& like, const char* op, const char* name) {
  const std::string expected = shape_of(like);
  require(shape_of(t) == expected, op, std::string(name) + " must have the shape " + expected, shape_of(t));
}

void require_norm(const Tensor& x, const Tensor& weight, const char* op) {
  require_float(x, op, "x");
  require_same_type(weight, x, op, "weight");
  require(x.dim() >= 1 && x.size(x.dim() - 1) > 0, op, "x must have a last dimension that is not empty",
          shape_of(x));
  const std::int64_t size = x.size(x.dim() - 1);
  require(weight.dim() == 1 && weight.size(0) == size, op, "weight must have the shape " + shape_of({size}),
          shape_of(weight));
}

Tensor dense(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }

Tensor empty_float(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef size) {
  return torch::stable::new_empty(like, size, ScalarType::Float);
}

Rows rows_of(const Tensor& t) {
  const std::int64_t size = t.size(t.dim() - 1);
  return {size == 0 ? 0 : t.numel() / size, size};
}

template <>
const kernels::TrainingKernels<float>& kernels_for() {
  return kernels::training_kernels(kernels::cpu_level()).f32;
}

template <>
const kernels::TrainingKernels<kernels::BFloat16>& kernels_for() {
  return kernels::training_kernels(kernels::cpu_level()).bf16;
}

std::int64_t row_grain(const Rows& rows) {
  constexpr std::int64_t kElements = 16384;
  return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, rows.size));
}

kernels::Operand operand(const Tensor& t) {
  return {t.const_data_ptr(), t.scalar_type() == ScalarType::BFloat16, t.stride(0), t.stride(1)};
}

Tensor in_type(const Tensor& t, ScalarType type) {
  return type == ScalarType::Float ? t : torch::stable::to(t, type);
}

Tensor product(const Tensor& a, const Tensor& b) {
  const Tensor c = empty_float(a, {a.size(0), b.size(1)});
  multiply(a, b, mutable_data<float>(c), b.size(1), false);
  return in_type(c, a.scalar_type());
}

void multiply(const Tensor& a, const Tensor& b, float* c, std::int64_t c_stride, bool accumulate) {
  static const kernels::ParallelFor parallel = [](std::size_t count, std::size_t grain, const auto& body) {
    torch::stable::parallel_for(0, static_cast<std::int64_t>(count), static_cast<std::int64_t>(grain),
                                [&](std::int64_t begin, std::int64_t end) {
                                  body(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
                                });
  };
  kernels::gemm(a.size(0), b.size(1), a.size(1), operand(a), operand(b), c, c_stride, accumulate,
                kernels::cpu_level(), parallel);
}

}  // namespace castline::ops
