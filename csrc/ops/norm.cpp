// RMSNorm, with and without the residual sum.
#include <algorithm>
#include <optional>
#include <tuple>

#include "ops/backend.hpp"

namespace castline::ops {
namespace {

using torch::stable::empty_like;

template <class T>
void normalise(const Tensor& x, const Tensor* residual, const Tensor& weight, double eps, const Tensor& y,
               const Tensor* total, const Tensor& inverse_rms) {
  const Rows rows = rows_of(x);
  for_rows(x, rows.count, rows.size, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t offset = begin * rows.size;
    kernels_for<T>().rms_norm(data<T>(x) + offset,
                              residual != nullptr ? data<T>(*residual) + offset : nullptr, data<T>(weight),
                              static_cast<float>(eps), mutable_data<T>(y) + offset,
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
                   const Tensor& inverse_rms, const Tensor& grad_x, const Tensor& grad_weight) {
  // A partial sum per block of rows; the blocks depend on the number of rows alone, and are added in order.
  constexpr std::int64_t kRows = 64;
  constexpr std::int64_t kBlocks = 64;
  const Rows rows = rows_of(x);
  const std::int64_t block = std::max(kRows, (rows.count + kBlocks - 1) / kBlocks);
  const std::int64_t blocks = (rows.count + block - 1) / block;
  const Tensor partial = empty_float(x, {blocks, rows.size});
  for_rows(x, blocks, block * rows.size, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t row = begin * block;
    const std::int64_t offset = row * rows.size;
    kernels_for<T>().rms_norm_backward(
        data<T>(grad) + offset, grad_total != nullptr ? data<T>(*grad_total) + offset : nullptr,
        data<T>(x) + offset, data<T>(weight), data<float>(inverse_rms) + row,
        mutable_data<T>(grad_x) + offset, mutable_data<float>(partial) + begin * rows.size,
        std::min(end * block, rows.count) - row, rows.size, block);
  });
  for_rows(x, 1, blocks * rows.size, [&](std::int64_t, std::int64_t) {
    float_kernels().sum_rows(data<float>(partial), blocks, rows.size, mutable_data<float>(grad_weight));
  });
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
  require_same_device(inverse_rms, x, kOp, "inverse_rms");
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
                                  inverse_rms, grad_x, grad_weight);
  });
  return {grad_x, torch::stable::to(grad_weight, weight.scalar_type())};
}

}  // namespace
}  // namespace castline::ops

CASTLINE_OPS(m) {
  m.impl("rms_norm", TORCH_BOX(&castline::ops::rms_norm));
  m.impl("add_rms_norm", TORCH_BOX(&castline::ops::add_rms_norm));
  m.impl("rms_norm_backward", TORCH_BOX(&castline::ops::rms_norm_backward));
}
