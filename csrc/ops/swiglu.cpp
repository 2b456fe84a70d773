// SwiGLU.
#include <tuple>

#include "ops/backend.hpp"

namespace castline::ops {
namespace {

using torch::stable::new_empty;

// A matrix view of rows: a tensor whose last dimension is dense and whose others are one even stride apart
// is read as it is; any other is copied.
struct Strided {
  Tensor tensor;
  std::int64_t stride;
};

Strided strided(const Tensor& t) {
  const std::int64_t last = t.dim() - 1;
  bool even = t.dim() >= 1 && t.stride(last) == 1;
  for (std::int64_t i = 0; even && i + 1 < last; ++i) even = t.stride(i) == t.stride(i + 1) * t.size(i + 1);
  if (even && last >= 1) return {t, t.stride(last - 1)};
  return {dense(t), t.size(last)};
}

void require_pair(const Tensor& gate, const Tensor& up, const char* op) {
  require_float(gate, op, "gate");
  require(gate.dim() >= 1, op, "gate must have a dimension", "a scalar");
  require_same_type(up, gate, op, "up");
  require_same_shape(up, gate, op, "up");
}

Tensor swiglu(const Tensor& gate_given, const Tensor& up_given) {
  require_pair(gate_given, up_given, "swiglu");
  const Strided gate = strided(gate_given);
  const Strided up = strided(up_given);
  const Tensor y = new_empty(gate.tensor, gate.tensor.sizes());
  const Rows rows = rows_of(y);
  with_type(y, [&](auto type) {
    using T = decltype(type);
    for_rows(y, rows.count, rows.size, [&](std::int64_t begin, std::int64_t end) {
      kernels_for<T>().swiglu(data<T>(gate.tensor) + begin * gate.stride, gate.stride,
                              data<T>(up.tensor) + begin * up.stride, up.stride,
                              mutable_data<T>(y) + begin * rows.size, end - begin, rows.size);
    });
  });
  return y;
}

std::tuple<Tensor, Tensor> swiglu_backward(const Tensor& grad_given, const Tensor& gate_given,
                                           const Tensor& up_given) {
  constexpr const char* kOp = "swiglu_backward";
  require_pair(gate_given, up_given, kOp);
  require_same_type(grad_given, gate_given, kOp, "grad");
  require_same_shape(grad_given, gate_given, kOp, "grad");
  const Tensor grad = dense(grad_given);
  const Strided gate = strided(gate_given);
  const Strided up = strided(up_given);
  const Tensor grad_gate = new_empty(grad, grad.sizes());
  const Tensor grad_up = new_empty(grad, grad.sizes());
  const Rows rows = rows_of(grad);
  with_type(grad, [&](auto type) {
    using T = decltype(type);
    for_rows(grad, rows.count, rows.size, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t offset = begin * rows.size;
      kernels_for<T>().swiglu_backward(data<T>(grad) + offset, data<T>(gate.tensor) + begin * gate.stride,
                                       gate.stride, data<T>(up.tensor) + begin * up.stride, up.stride,
                                       mutable_data<T>(grad_gate) + offset, mutable_data<T>(grad_up) + offset,
                                       nullptr, end - begin, rows.size);
    });
  });
  return {grad_gate, grad_up};
}

}  // namespace
}  // namespace castline::ops

CASTLINE_OPS(m) {
  m.impl("swiglu", TORCH_BOX(&castline::ops::swiglu));
  m.impl("swiglu_backward", TORCH_BOX(&castline::ops::swiglu_backward));
}
