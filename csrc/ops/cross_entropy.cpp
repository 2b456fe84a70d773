// The loss of a language model's head, which never holds all its logits.
#include <algorithm>
#include <tuple>

#include "ops/backend.hpp"

namespace castline::ops {
namespace {

using torch::stable::transpose;

constexpr const char* kOp = "linear_cross_entropy";

// Rows whose logits are held at a time: 16 MB of them, but at least 256 rows, because the weights are read
// anew for every chunk. It must not depend on the machine: it decides rounding.
std::int64_t chunk_rows(std::int64_t vocabulary) {
  constexpr std::int64_t kLogits = 1 << 22;
  return std::clamp<std::int64_t>(kLogits / vocabulary, 256, 1024);
}

// Returns (total, losses [rows], grad_x, grad_weight), the first two float32; a gradient that is not wanted
// is empty. The gradients are those of the total, computed here while a chunk's logits are at hand: the
// backward pass only scales them.
std::tuple<Tensor, Tensor, Tensor, Tensor> linear_cross_entropy(const Tensor& x, const Tensor& weight,
                                                                const Tensor& targets_given,
                                                                std::int64_t ignored, bool want_grad_x,
                                                                bool want_grad_weight) {
  require_float(x, kOp, "x");
  require_same_type(weight, x, kOp, "weight");
  require(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(1) && weight.size(0) > 0, kOp,
          "x must have the shape [tokens, size] and weight [vocabulary, size]",
          shape_of(x) + " and " + shape_of(weight));
  const std::int64_t rows = x.size(0);
  const std::int64_t size = x.size(1);
  const std::int64_t vocabulary = weight.size(0);
  require(targets_given.scalar_type() == ScalarType::Long && targets_given.dim() == 1 &&
              targets_given.size(0) == rows,
          kOp, "targets must be int64 of the shape " + shape_of({rows}),
          std::string(toString(targets_given.scalar_type())) + " " + shape_of(targets_given));
  require_same_device(targets_given, x, kOp, "targets");
  const Tensor targets = dense(targets_given);
  require_targets(targets, vocabulary, ignored, kOp);

  const bool gradient = want_grad_x || want_grad_weight;
  const std::int64_t chunk = std::min(rows, chunk_rows(vocabulary));
  const Tensor total = empty_float(x, {});
  const Tensor losses = empty_float(x, {rows});
  const Tensor logits = empty_float(x, {chunk, vocabulary});
  const Tensor grad_x = empty_float(x, {want_grad_x ? rows : 0, size});
  Tensor grad_weight = empty_float(weight, {want_grad_weight ? vocabulary : 0, size});
  if (rows == 0) torch::stable::zero_(grad_weight);
  for (std::int64_t begin = 0; begin < rows; begin += chunk) {
    const std::int64_t count = std::min(chunk, rows - begin);
    const Tensor part = rows_from(x, begin, count);
    const Tensor part_logits = rows_from(logits, 0, count);
    multiply(part, transpose(weight, 0, 1), part_logits, false);
    for_rows(x, count, vocabulary, [&](std::int64_t first, std::int64_t last) {
      float_kernels().cross_entropy(mutable_data<float>(part_logits) + first * vocabulary,
                                    data<std::int64_t>(targets) + begin + first, ignored, gradient,
                                    mutable_data<float>(losses) + begin + first, last - first, vocabulary);
    });
    if (want_grad_x) multiply(part_logits, weight, rows_from(grad_x, begin, count), false);
    if (want_grad_weight) multiply(transpose(part_logits, 0, 1), part, grad_weight, begin > 0);
  }
  for_rows(x, 1, rows, [&](std::int64_t, std::int64_t) {
    float_kernels().sum(data<float>(losses), rows, mutable_data<float>(total));
  });
  return {total, losses, in_type(grad_x, x.scalar_type()), in_type(grad_weight, x.scalar_type())};
}

}  // namespace
}  // namespace castline::ops

CASTLINE_OPS(m) { m.impl("linear_cross_entropy", TORCH_BOX(&castline::ops::linear_cross_entropy)); }
