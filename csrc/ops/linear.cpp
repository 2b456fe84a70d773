// Matrix products.
#include <vector>

#include "ops/backend.hpp"

namespace castline::ops {
namespace {

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
  const Rows rows = rows_of(x);
  const Tensor flat = x.dim() == 2 ? x : torch::stable::reshape(x, {rows.count, rows.size});
  return torch::stable::view(product(flat, torch::stable::transpose(weight, 0, 1)), shape);
}

}  // namespace
}  // namespace castline::ops

CASTLINE_OPS(m) {
  m.impl("matmul", TORCH_BOX(&castline::ops::matmul_op));
  m.impl("linear", TORCH_BOX(&castline::ops::linear));
}
