// Matrix products, and the loss that never holds all its logits.
#include <algorithm>
#include <tuple>
#include <vector>

#include "ops/tensor.hpp"

namespace castline::ops {
namespace {

using torch::stable::narrow;
using torch::stable::transpose;

Tensor matmul_op(const Tensor& a, const Tensor& b) {
  require_float(a, "matmul", "a");
  require_same_type(b, a, "matmul", "b");
  require(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0), "matmul",
          "a and b must be matrices with a's columns as b's rows", shape_of(a) + " and " + shape_of(b));
  return product(a, b);
}

Tensor linear(const Tensor& x, const Tensor& weight) {
  require_float(x, "linear", "x");
  require_same_type(weight, x, "linear", "weight");
  require(weight.dim() == 2 && x.dim() >= 1 && x.size(x.dim() - 1) == weight.size(1), "linear",
          "x must have the shape [..., in] and weight [out, in]", shape_of(x) + " and " + shape_of(weight));
  std::vector<std::int64_t> shape(x.sizes().begin(), x.sizes().end());
  shape.back() = weight.size(0);
  const std::int64_t size = weight.size(1);
  const Tensor flat = x.dim() == 2 ? x : torch::stable::reshape(x, {size == 0 ? 0 : x.numel() / size, size});
  return torch::stable::view(product(flat, transpose(weight, 0, 1)), shape);
}

// Rows whose logits are held at a time: 16 MB of them, but at least 256 rows, because the weights are read
// anew for every chunk. It must not depend on the machine: it decides rounding.
std::int64_t chunk_rows(std::int64_t vocabulary) {
  constexpr std::int64_t kLogits = 1 << 22;
  return std::clamp<std::int64_t>(kLogits / vocabulary, 256, 1024);
}

void require_targets(const Tensor& targets, std::int64_t rows, std::int64_t vocabulary,
                     std::int64_t ignored) {
  constexpr const char* kOp = "linear_cross_entropy";
  require(targets.scalar_type() == ScalarType::Long && targets.dim() == 1 && targets.size(0) == rows, kOp,
          "targets must be int64 of the shape " + shape_of({rows}),
          std::string(toString(targets.scalar_type())) + " " + shape_of(targets));
  const std::int64_t* target = data<std::int64_t>(targets);
  for (std::int64_t i = 0; i < rows; ++i) {
    if (target[i] != ignored && (target[i] < 0 || target[i] >= vocabulary)) {
      require(
          false, kOp,
          "targets must be from 0 to " + std::to_string(vocabulary - 1) + " or " + std::to_string(ignored),
          std::to_string(target[i]) + " at " + std::to_string(i));
    }
  }
}

// Returns (total, losses [rows], grad_x, grad_weight), the first two float32; a gradient that is not wanted
// is empty. The gradients are those of the total, computed here while a chunk's logits are at hand: the
// backward pass only scales them.
std::tuple<Tensor, Tensor, Tensor, Tensor> linear_cross_entropy(const Tensor& x_given,
                                                                const Tensor& weight_given,
                                                                const Tensor& targets_given,
                                                                std::int64_t ignored, bool want_grad_x,
                                                                bool want_grad_weight) {
  constexpr const char* kOp = "linear_cross_entropy";
  require_float(x_given, kOp, "x");
  require_same_type(weight_given, x_given, kOp, "weight");
  require(x_given.dim() == 2 && weight_given.dim() == 2 && x_given.size(1) == weight_given.size(1) &&
              weight_given.size(0) > 0,
          kOp, "x must have the shape [tokens, size] and weight [vocabulary, size]",
          shape_of(x_given) + " and " + shape_of(weight_given));
  const Tensor& x = x_given;
  const Tensor& weight = weight_given;
  const Tensor targets = dense(targets_given);
  const std::int64_t rows = x.size(0);
  const std::int64_t size = x.size(1);
  const std::int64_t vocabulary = weight.size(0);
  require_targets(targets, rows, vocabulary, ignored);

  const bool gradient = want_grad_x || want_grad_weight;
  const std::int64_t chunk = std::min(rows, chunk_rows(vocabulary));
  const Tensor losses = empty_float(x, {rows});
  const Tensor logits = empty_float(x, {chunk, vocabulary});
  const Tensor grad_x = empty_float(x, {want_grad_x ? rows : 0, size});
  const Tensor grad_weight = empty_float(weight, {want_grad_weight ? vocabulary : 0, size});
  if (rows == 0) std::fill_n(mutable_data<float>(grad_weight), grad_weight.numel(), 0.0F);
  const Tensor weight_t = transpose(weight, 0, 1);
  const auto& loss = kernels::training_kernels(kernels::cpu_level()).loss;
  for (std::int64_t begin = 0; begin < rows; begin += chunk) {
    const std::int64_t count = std::min(chunk, rows - begin);
    Tensor x_mutable = x;
    Tensor logits_mutable = logits;
    const Tensor part = narrow(x_mutable, 0, begin, count);
    const Tensor part_logits = narrow(logits_mutable, 0, 0, count);
    float* values = mutable_data<float>(part_logits);
    multiply(part, weight_t, values, vocabulary, false);
    torch::stable::parallel_for(0, count, 1, [&](std::int64_t first, std::int64_t last) {
      loss.cross_entropy(values + first * vocabulary, data<std::int64_t>(targets) + begin + first, ignored,
                         gradient, mutable_data<float>(losses) + begin + first, last - first, vocabulary);
    });
    if (want_grad_x) multiply(part_logits, weight, mutable_data<float>(grad_x) + begin * size, size, false);
    if (want_grad_weight) {
      multiply(transpose(part_logits, 0, 1), part, mutable_data<float>(grad_weight), size, begin > 0);
    }
  }
  double total = 0.0;
  for (std::int64_t i = 0; i < rows; ++i) total += data<float>(losses)[i];
  const Tensor total_tensor = empty_float(x, {});
  *mutable_data<float>(total_tensor) = static_cast<float>(total);
  return {total_tensor, losses, in_type(grad_x, x.scalar_type()), in_type(grad_weight, x.scalar_type())};
}

}  // namespace
}  // namespace castline::ops

STABLE_TORCH_LIBRARY_IMPL(castline, CPU, m) {
  m.impl("matmul", TORCH_BOX(&castline::ops::matmul_op));
  m.impl("linear", TORCH_BOX(&castline::ops::linear));
  m.impl("linear_cross_entropy", TORCH_BOX(&castline::ops::linear_cross_entropy));
}
