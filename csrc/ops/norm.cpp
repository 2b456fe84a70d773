// RMSNorm, with and without the residual sum.
#include <algorithm>
#include <optional>
#include <tuple>

#include "ops/tensor.hpp"

namespace castline::ops {
namespace {

using torch::stable::empty_like;

template <class T>
void normalise(const Tensor& x, const Tensor* residual, const Tensor& weight, double eps, const Tensor& y,
               const Tensor* total, const Tensor& inverse_rms) {
  const Rows rows = rows_of(x);
  const auto& kernels = kernels_for<T>();
  torch::stable::parallel_for(0, rows.count, row_grain(rows), [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t offset = begin * rows.size;
    kernels.rms_norm(data<T>(x) + offset, residual != nullptr ? data<T>(*residual) + offset : nullptr,
                     data<T>(weight), static_cast<float>(eps), mutable_data<T>(y) + offset,
                     total != nullptr ? mutable_data<T>(*total) + offset : nullptr,
                     mutable_data<float>(inverse_rms) + begin, end - begin, rows.size);
  });
}

// Shape [...] of the rows of x.
Tensor empty_per_row(const Tensor& x) {
  return empty_float(
      x, torch::headeronly::IntHeaderOnlyArrayRef(x.sizes().data(), static_cast<std::size_t>(x.dim() - 1)));
}

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x_given, const Tensor& weight_given, double eps) {
  require_norm(x_given, weight_given, "rms_norm");
  const Tensor x = dense(x_given);
  const Tensor weight = dense(weight_given);
  const Tensor y = empty_like(x);
  const Tensor inverse_rms = empty_per_row(x);
  with_type(x,
            [&](auto type) { normalise<decltype(type)>(x, nullptr, weight, eps, y, nullptr, inverse_rms); });
  return {y, inverse_rms};
}

std::tuple<Tensor, Tensor, Tensor> add_rms_norm(const Tensor& x_given, const Tensor& residual_given,
                                                const Tensor& weight_given, double eps) {
  require_norm(x_given, weight_given, "add_rms_norm");
  require_same_type(residual_given, x_given, "add_rms_norm", "residual");
  require_same_shape(residual_given, x_given, "add_rms_norm", "residual");
  const Tensor x = dense(x_given);
  const Tensor residual = dense(residual_given);
  const Tensor weight = dense(weight_given);
  const Tensor y = empty_like(x);
  const Tensor total = empty_like(x);
  const Tensor inverse_rms = empty_per_row(x);
  with_type(x,
            [&](auto type) { normalise<decltype(type)>(x, &residual, weight, eps, y, &total, inverse_rms); });
  return {y, total, inverse_rms};
}

template <class T>
void differentiate(const Tensor& grad, const Tensor* grad_total, const Tensor& x, const Tensor& weight,
                   const Tensor& inverse_rms, const Tensor& grad_x, float* grad_weight) {
  // A partial sum per block of rows; the blocks depend on the number of rows alone, and are added in order.
  constexpr std::int64_t kRows = 64;
  constexpr std::int64_t kBlocks = 64;
  const Rows rows = rows_of(x);
  const std::int64_t block = std::max(kRows, (rows.count + kBlocks - 1) / kBlocks);
  const std::int64_t blocks = (rows.count + block - 1) / block;
  const Tensor partial = torch::stable::new_zeros(x, {blocks, rows.size}, ScalarType::Float);
  const auto& kernels = kernels_for<T>();
  torch::stable::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = i * block;
      const std::int64_t offset = row * rows.size;
      kernels.rms_norm_backward(
          data<T>(grad) + offset, grad_total != nullptr ? data<T>(*grad_total) + offset : nullptr,
          data<T>(x) + offset, data<T>(weight), data<float>(inverse_rms) + row,
          mutable_data<T>(grad_x) + offset, mutable_data<float>(partial) + i * rows.size,
          std::min(block, rows.count - row), rows.size);
    }
  });
  std::fill_n(grad_weight, rows.size, 0.0F);
  for (std::int64_t i = 0; i < blocks; ++i) {
    const float* part = data<float>(partial) + i * rows.size;
    for (std::int64_t j = 0; j < rows.size; ++j) grad_weight[j] += part[j];
  }
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad_given,
                                             const std::optional<Tensor>& grad_total_given,
                                             const Tensor& x_given, const Tensor& weight_given,
                                             const Tensor& inverse_rms_given) {
  constexpr const char* kOp = "rms_norm_backward";
  require_norm(x_given, weight_given, kOp);
  require_same_type(grad_given, x_given, kOp, "grad");
  require_same_shape(grad_given, x_given, kOp, "grad");
  const Tensor x = dense(x_given);
  const Tensor weight = dense(weight_given);
  const Tensor grad = dense(grad_given);
  const Tensor inverse_rms = dense(inverse_rms_given);
  require(inverse_rms.scalar_type() == ScalarType::Float && inverse_rms.numel() == rows_of(x).count, kOp,
          "inverse_rms must have a float32 for each of " + std::to_string(rows_of(x).count) + " rows",
          shape_of(inverse_rms));
  std::optional<Tensor> grad_total;
  if (grad_total_given.has_value()) {
    require_same_type(*grad_total_given, x, kOp, "grad_total");
    require_same_shape(*grad_total_given, x, kOp, "grad_total");
    grad_total = dense(*grad_total_given);
  }
  const Tensor grad_x = empty_like(x);
  const Tensor grad_weight = empty_float(weight, weight.sizes());
  with_type(x, [&](auto type) {
    differentiate<decltype(type)>(grad, grad_total.has_value() ? &*grad_total : nullptr, x, weight,
                                  inverse_rms, grad_x, mutable_data<float>(grad_weight));
  });
  return {grad_x, torch::stable::to(grad_weight, weight.scalar_type())};
}

}  // namespace
}  // namespace castline::ops

STABLE_TORCH_LIBRARY_IMPL(castline, CPU, m) {
  m.impl("rms_norm", TORCH_BOX(&castline::ops::rms_norm));
  m.impl("add_rms_norm", TORCH_BOX(&castline::ops::add_rms_norm));
  m.impl("rms_norm_backward", TORCH_BOX(&castline::ops::rms_norm_backward));
}
