// Rotary position embedding, of heads alone and of packed q, k and v.
#include <tuple>

#include "ops/backend.hpp"

namespace castline::ops {
namespace {

using kernels::Heads;
using kernels::HeadStrides;
using torch::stable::new_empty;

void require_tables(const Tensor& cos, const Tensor& sin, const Tensor& x, const char* op) {
  const std::int64_t size = x.size(x.dim() - 1);
  require(size % 2 == 0, op, "x must have an even last dimension", shape_of(x));
  const std::string table = shape_of({x.size(0), size / 2});
  for (const Tensor* t : {&cos, &sin}) {
    require(shape_of(*t) == table && t->scalar_type() == ScalarType::Float, op,
            "cos and sin must be float32 of the shape " + table,
            std::string(toString(t->scalar_type())) + " " + shape_of(*t));
    require_same_device(*t, x, op, "cos and sin");
  }
}

Tensor dense_heads(const Tensor& x) { return x.stride(x.dim() - 1) == 1 ? x : torch::stable::contiguous(x); }

// Heads of x, from the element `x_offset` on, that become heads of y from `y_offset` on.
struct Move {
  Heads heads;
  const Tensor& x;
  std::int64_t x_offset;
  HeadStrides x_strides;
  const Tensor& y;
  std::int64_t y_offset;
  HeadStrides y_strides;

  void turn(const Tensor& cos, const Tensor& sin, bool inverse) const {
    const std::int64_t half = heads.size / 2;
    each([&](const auto& kernels, const auto* from, auto* to, std::int64_t begin, std::int64_t count) {
      kernels.rope(from, x_strides, heads, data<float>(cos) + begin * half, data<float>(sin) + begin * half,
                   inverse ? -1.0F : 1.0F, to, y_strides, count);
    });
  }

  void copy() const {
    each([&](const auto& kernels, const auto* from, auto* to, std::int64_t, std::int64_t count) {
      kernels.copy_heads(from, x_strides, heads, to, y_strides, count);
    });
  }

 private:
  template <class Body>
  void each(Body body) const {
    with_type(x, [&](auto type) {
      using T = decltype(type);
      for_rows(x, x.size(0), heads.outer * heads.inner * heads.size,
               [&](std::int64_t begin, std::int64_t end) {
                 body(kernels_for<T>(), data<T>(x) + x_offset + begin * x_strides.token,
                      mutable_data<T>(y) + y_offset + begin * y_strides.token, begin, end - begin);
               });
    });
  }
};

Tensor rope(const Tensor& x_given, const Tensor& cos_given, const Tensor& sin_given, bool inverse) {
  require_float(x_given, "rope", "x");
  require(x_given.dim() == 3 || x_given.dim() == 4, "rope",
          "x must have the shape [tokens, heads, size] or [tokens, groups, heads, size]", shape_of(x_given));
  require_tables(cos_given, sin_given, x_given, "rope");
  const Tensor x = dense_heads(x_given);
  const Tensor y = new_empty(x, x.sizes());
  const std::int64_t last = x.dim() - 1;
  const bool grouped = x.dim() == 4;
  const Heads heads{grouped ? x.size(1) : 1, x.size(last - 1), x.size(last)};
  const Move move{heads,
                  x,
                  0,
                  {x.stride(0), grouped ? x.stride(1) : 0, x.stride(last - 1)},
                  y,
                  0,
                  {y.stride(0), grouped ? y.stride(1) : 0, y.stride(last - 1)}};
  move.turn(dense(cos_given), dense(sin_given), inverse);
  return y;
}

// Where q, k and v lie in a packed [tokens, kv_heads, group + 2, size].
struct Packed {
  std::int64_t kv_heads, group, size;
  HeadStrides strides;
  Heads q_heads, kv;

  explicit Packed(const Tensor& qkv)
      : kv_heads(qkv.size(1)),
        group(qkv.size(2) - 2),
        size(qkv.size(3)),
        strides{qkv.stride(0), qkv.stride(1), qkv.stride(2)},
        q_heads{kv_heads, group, size},
        kv{kv_heads, 1, size} {}

  std::int64_t k_offset() const { return group * strides.inner; }
  std::int64_t v_offset() const { return (group + 1) * strides.inner; }
};

HeadStrides q_strides(const Tensor& q, std::int64_t group) {
  return {q.stride(0), group * q.stride(1), q.stride(1)};
}

HeadStrides kv_strides(const Tensor& t) { return {t.stride(0), t.stride(1), 0}; }

std::tuple<Tensor, Tensor, Tensor> rope_qkv(const Tensor& qkv_given, const Tensor& cos_given,
                                            const Tensor& sin_given) {
  constexpr const char* kOp = "rope_qkv";
  require_float(qkv_given, kOp, "qkv");
  require(qkv_given.dim() == 4 && qkv_given.size(2) > 2, kOp,
          "qkv must have the shape [tokens, kv_heads, group + 2, size]", shape_of(qkv_given));
  require_tables(cos_given, sin_given, qkv_given, kOp);
  const Tensor qkv = dense_heads(qkv_given);
  const Tensor cos = dense(cos_given);
  const Tensor sin = dense(sin_given);
  const Packed packed(qkv);
  const std::int64_t tokens = qkv.size(0);
  const Tensor q = new_empty(qkv, {tokens, packed.kv_heads * packed.group, packed.size});
  const Tensor k = new_empty(qkv, {tokens, packed.kv_heads, packed.size});
  const Tensor v = new_empty(qkv, {tokens, packed.kv_heads, packed.size});
  Move{packed.q_heads, qkv, 0, packed.strides, q, 0, q_strides(q, packed.group)}.turn(cos, sin, false);
  Move{packed.kv, qkv, packed.k_offset(), packed.strides, k, 0, kv_strides(k)}.turn(cos, sin, false);
  Move{packed.kv, qkv, packed.v_offset(), packed.strides, v, 0, kv_strides(v)}.copy();
  return {q, k, v};
}

Tensor rope_qkv_backward(const Tensor& grad_q_given, const Tensor& grad_k_given, const Tensor& grad_v_given,
                         const Tensor& cos_given, const Tensor& sin_given) {
  constexpr const char* kOp = "rope_qkv_backward";
  require_float(grad_q_given, kOp, "grad_q");
  require(
      grad_q_given.dim() == 3 && grad_k_given.dim() == 3 && grad_k_given.size(1) > 0 &&
          grad_q_given.size(1) % grad_k_given.size(1) == 0,
      kOp,
      "grad_q and grad_k must have the shape [tokens, heads, size], the heads of one a multiple of the other",
      shape_of(grad_q_given) + " and " + shape_of(grad_k_given));
  require_same_shape(grad_v_given, grad_k_given, kOp, "grad_v");
  require_same_type(grad_k_given, grad_q_given, kOp, "grad_k");
  require_same_type(grad_v_given, grad_q_given, kOp, "grad_v");
  require_tables(cos_given, sin_given, grad_q_given, kOp);
  require_tables(cos_given, sin_given, grad_k_given, kOp);
  const Tensor grad_q = dense_heads(grad_q_given);
  const Tensor grad_k = dense_heads(grad_k_given);
  const Tensor grad_v = dense_heads(grad_v_given);
  const Tensor cos = dense(cos_given);
  const Tensor sin = dense(sin_given);
  const std::int64_t tokens = grad_q.size(0);
  const std::int64_t kv_heads = grad_k.size(1);
  const std::int64_t group = grad_q.size(1) / kv_heads;
  const Tensor grad = new_empty(grad_q, {tokens, kv_heads, group + 2, grad_q.size(2)});
  const Packed packed(grad);
  Move{packed.q_heads, grad_q, 0, q_strides(grad_q, group), grad, 0, packed.strides}.turn(cos, sin, true);
  Move{packed.kv, grad_k, 0, kv_strides(grad_k), grad, packed.k_offset(), packed.strides}.turn(cos, sin,
                                                                                               true);
  Move{packed.kv, grad_v, 0, kv_strides(grad_v), grad, packed.v_offset(), packed.strides}.copy();
  return grad;
}

}  // namespace
}  // namespace castline::ops

CASTLINE_OPS(m) {
  m.impl("rope", TORCH_BOX(&castline::ops::rope));
  m.impl("rope_qkv", TORCH_BOX(&castline::ops::rope_qkv));
  m.impl("rope_qkv_backward", TORCH_BOX(&castline::ops::rope_qkv_backward));
}
