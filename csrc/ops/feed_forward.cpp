// The feed-forward block w2(silu(w1 x) · (w3 x)) as one op: its inner product is made again in the backward
// pass instead of kept, and the gradients of x through w1 and w3 meet in one sum.
#include <algorithm>
#include <tuple>

#include "ops/backend.hpp"

namespace castline::ops {
namespace {

using torch::stable::new_empty;
using torch::stable::transpose;

void require_block(const Tensor& x, const Tensor& w1, const Tensor& w3, const Tensor& w2, const char* op) {
  require_float(x, op, "x");
  for (const Tensor* weight : {&w1, &w3, &w2}) require_same_type(*weight, x, op, "every weight");
  require(x.dim() == 2 && w1.dim() == 2 && x.size(1) == w1.size(1), op,
          "x must have the shape [tokens, size] and w1 [inner, size]", shape_of(x) + " and " + shape_of(w1));
  require_same_shape(w3, w1, op, "w3");
  require(shape_of(w2) == shape_of({w1.size(1), w1.size(0)}), op,
          "w2 must have the shape " + shape_of({w1.size(1), w1.size(0)}), shape_of(w2));
}

// Returns (y, gate, up), the last two for the backward pass.
std::tuple<Tensor, Tensor, Tensor> feed_forward(const Tensor& x, const Tensor& w1, const Tensor& w3,
                                                const Tensor& w2) {
  require_block(x, w1, w3, w2, "feed_forward");
  const Tensor gate = product(x, transpose(w1, 0, 1));
  const Tensor up = product(x, transpose(w3, 0, 1));
  const Tensor inner = new_empty(gate, gate.sizes());
  const Rows rows = rows_of(gate);
  with_type(x, [&](auto type) {
    using T = decltype(type);
    for_rows(x, rows.count, rows.size, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t offset = begin * rows.size;
      kernels_for<T>().swiglu(data<T>(gate) + offset, rows.size, data<T>(up) + offset, rows.size,
                              mutable_data<T>(inner) + offset, end - begin, rows.size);
    });
  });
  return {product(inner, transpose(w2, 0, 1)), gate, up};
}

// Returns the gradients of x, w1, w3 and w2.
std::tuple<Tensor, Tensor, Tensor, Tensor> feed_forward_backward(const Tensor& grad, const Tensor& x,
                                                                 const Tensor& w1, const Tensor& w3,
                                                                 const Tensor& w2, const Tensor& gate_given,
                                                                 const Tensor& up_given) {
  constexpr const char* kOp = "feed_forward_backward";
  require_block(x, w1, w3, w2, kOp);
  require_same_shape(grad, x, kOp, "grad");
  require_same_type(grad, x, kOp, "grad");
  const Tensor gate = dense(gate_given);
  const Tensor up = dense(up_given);
  require(shape_of(gate) == shape_of({x.size(0), w1.size(0)}), kOp,
          "gate must have the shape [tokens, inner]", shape_of(gate));
  require_same_shape(up, gate, kOp, "up");
  const std::int64_t rows = x.size(0);
  const std::int64_t inner_size = w1.size(0);
  const ScalarType type_of_x = x.scalar_type();
  const Tensor grad_x = empty_float(x, x.sizes());
  const Tensor grad_w1 = empty_float(w1, w1.sizes());
  const Tensor grad_w3 = empty_float(w3, w3.sizes());
  const Tensor grad_w2 = empty_float(w2, w2.sizes());
  if (rows == 0) {
    for (Tensor t : {grad_w1, grad_w3, grad_w2}) torch::stable::zero_(t);
  }
  for (std::int64_t begin = 0; begin < rows; begin += kInnerRows) {
    const std::int64_t count = std::min(kInnerRows, rows - begin);
    const bool add = begin > 0;
    const Tensor grad_part = rows_from(grad, begin, count);
    const Tensor x_part = rows_from(x, begin, count);
    const Tensor inner = product(grad_part, w2);  // its gradient, which the kernel replaces by its value
    const Tensor grad_gate = new_empty(inner, inner.sizes());
    const Tensor grad_up = new_empty(inner, inner.sizes());
    with_type(x, [&](auto type) {
      using T = decltype(type);
      for_rows(x, count, inner_size, [&](std::int64_t first, std::int64_t last) {
        const std::int64_t offset = first * inner_size;
        const std::int64_t offset_in_all = (begin + first) * inner_size;
        T* product_row = mutable_data<T>(inner) + offset;
        kernels_for<T>().swiglu_backward(
            product_row, data<T>(gate) + offset_in_all, inner_size, data<T>(up) + offset_in_all, inner_size,
            mutable_data<T>(grad_gate) + offset, mutable_data<T>(grad_up) + offset, product_row, last - first,
            inner_size);
      });
    });
    const Tensor grad_x_part = rows_from(grad_x, begin, count);
    multiply(grad_gate, w1, grad_x_part, false);
    multiply(grad_up, w3, grad_x_part, true);
    multiply(transpose(grad_gate, 0, 1), x_part, grad_w1, add);
    multiply(transpose(grad_up, 0, 1), x_part, grad_w3, add);
    multiply(transpose(grad_part, 0, 1), inner, grad_w2, add);
  }
  return {in_type(grad_x, type_of_x), in_type(grad_w1, type_of_x), in_type(grad_w3, type_of_x),
          in_type(grad_w2, type_of_x)};
}

}  // namespace
}  // namespace castline::ops

CASTLINE_OPS(m) {
  m.impl("feed_forward", TORCH_BOX(&castline::ops::feed_forward));
  m.impl("feed_forward_backward", TORCH_BOX(&castline::ops::feed_forward_backward));
}
