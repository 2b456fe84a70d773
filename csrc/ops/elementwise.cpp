// RoPE and SwiGLU.
#include <tuple>

#include "ops/tensor.hpp"

namespace castline::ops {
namespace {

using torch::stable::new_empty;

Tensor rope(const Tensor& x_given, const Tensor& cos_given, const Tensor& sin_given, bool inverse) {
  require_float(x_given, "rope", "x");
  require((x_given.dim() == 3 || x_given.dim() == 4) && x_given.size(x_given.dim() - 1) % 2 == 0, "rope",
          "x must have the shape [tokens, heads, even] or [tokens, groups, heads, even]", shape_of(x_given));
  const std::int64_t last = x_given.dim() - 1;
  const std::string table = shape_of({x_given.size(0), x_given.size(last) / 2});
  for (const Tensor* t : {&cos_given, &sin_given}) {
    require(shape_of(*t) == table && t->scalar_type() == ScalarType::Float, "rope",
            "cos and sin must be float32 of the shape " + table,
            std::string(toString(t->scalar_type())) + " " + shape_of(*t));
  }
  const Tensor x = x_given.stride(last) == 1 ? x_given : torch::stable::contiguous(x_given);
  const Tensor cos = dense(cos_given);
  const Tensor sin = dense(sin_given);
  const Tensor y = new_empty(x, x.sizes());
  const bool grouped = x.dim() == 4;
  const kernels::Heads heads{grouped ? x.size(1) : 1,   x.size(last - 1),  x.size(last), x.stride(0),
                             grouped ? x.stride(1) : 0, x.stride(last - 1)};
  const Rows rows{x.size(0), heads.outer * heads.inner * heads.size};
  with_type(x, [&](auto type) {
    using T = decltype(type);
    torch::stable::parallel_for(0, rows.count, row_grain(rows), [&](std::int64_t begin, std::int64_t end) {
      kernels_for<T>().rope(data<T>(x) + begin * heads.token_stride, heads,
                            data<float>(cos) + begin * heads.size / 2,
                            data<float>(sin) + begin * heads.size / 2, inverse ? -1.0F : 1.0F,
                            mutable_data<T>(y) + begin * rows.size, end - begin);
    });
  });
  return y;
}

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
    torch::stable::parallel_for(0, rows.count, row_grain(rows), [&](std::int64_t begin, std::int64_t end) {
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
    torch::stable::parallel_for(0, rows.count, row_grain(rows), [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t offset = begin * rows.size;
      kernels_for<T>().swiglu_backward(data<T>(grad) + offset, data<T>(gate.tensor) + begin * gate.stride,
                                       gate.stride, data<T>(up.tensor) + begin * up.stride, up.stride,
                                       mutable_data<T>(grad_gate) + offset, mutable_data<T>(grad_up) + offset,
                                       end - begin, rows.size);
    });
  });
  return {grad_gate, grad_up};
}

}  // namespace
}  // namespace castline::ops

STABLE_TORCH_LIBRARY_IMPL(castline, CPU, m) {
  m.impl("rope", TORCH_BOX(&castline::ops::rope));
  m.impl("swiglu", TORCH_BOX(&castline::ops::swiglu));
  m.impl("swiglu_backward", TORCH_BOX(&castline::ops::swiglu_backward));
}
