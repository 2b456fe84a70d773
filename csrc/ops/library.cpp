// The schemas of torch.ops.castline. Python's side, with the fake kernels and the derivatives, is
// model/ops.py.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(castline, m) {
  m.def("rms_norm(Tensor x, Tensor weight, float eps) -> (Tensor, Tensor)");
  m.def(
      "rms_norm_backward(Tensor grad, Tensor? grad_total, Tensor x, Tensor weight, Tensor inverse_rms) "
      "-> (Tensor, Tensor)");
  m.def("add_rms_norm(Tensor x, Tensor residual, Tensor weight, float eps) -> (Tensor, Tensor, Tensor)");
  m.def("rope(Tensor x, Tensor cos, Tensor sin, bool inverse) -> Tensor");
  m.def("rope_qkv(Tensor qkv, Tensor cos, Tensor sin) -> (Tensor, Tensor, Tensor)");
  m.def("rope_qkv_backward(Tensor grad_q, Tensor grad_k, Tensor grad_v, Tensor cos, Tensor sin) -> Tensor");
  m.def("swiglu(Tensor gate, Tensor up) -> Tensor");
  m.def("swiglu_backward(Tensor grad, Tensor gate, Tensor up) -> (Tensor, Tensor)");
  m.def("feed_forward(Tensor x, Tensor w1, Tensor w3, Tensor w2) -> (Tensor, Tensor, Tensor)");
  m.def(
      "feed_forward_backward(Tensor grad, Tensor x, Tensor w1, Tensor w3, Tensor w2, Tensor gate, Tensor up) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
  m.def("linear(Tensor x, Tensor weight) -> Tensor");
  m.def("matmul(Tensor a, Tensor b) -> Tensor");
  m.def(
      "linear_cross_entropy(Tensor x, Tensor weight, Tensor targets, int ignored, bool grad_x, "
      "bool grad_weight) -> (Tensor, Tensor, Tensor, Tensor)");
}
