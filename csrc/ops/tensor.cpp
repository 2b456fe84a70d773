#include "ops/tensor.hpp"

#include "base/error.hpp"

namespace castline::ops {
namespace {

std::string device_of(const Tensor& t) {
  return t.is_cuda() ? "cuda:" + std::to_string(t.get_device_index()) : "the CPU";
}

}  // namespace

std::string shape_of(const Tensor& t) {
  return shape_of(std::vector<std::int64_t>(t.sizes().begin(), t.sizes().end()));
}

std::string shape_of(const std::vector<std::int64_t>& sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text.append(text.empty() ? "[" : ", ").append(std::to_string(size));
  return text.append(text.empty() ? "[]" : "]");
}

void require(bool ok, const char* op, const std::string& rule, const std::string& value) {
  if (!ok) throw_usage("[" + std::string(op) + "] " + rule + ", but got " + value);
}

void require_float(const Tensor& t, const char* op, const char* name) {
  const ScalarType type = t.scalar_type();
  require(type == ScalarType::Float || type == ScalarType::BFloat16, op,
          std::string(name) + " must be float32 or bfloat16", toString(type));
}

void require_same_device(const Tensor& t, const Tensor& like, const char* op, const char* name) {
  require(t.is_cuda() == like.is_cuda() && t.get_device_index() == like.get_device_index(), op,
          std::string(name) + " must be on " + device_of(like), device_of(t));
}

void require_same_type(const Tensor& t, const Tensor& like, const char* op, const char* name) {
  require(t.scalar_type() == like.scalar_type(), op,
          std::string(name) + " must be of type " + toString(like.scalar_type()), toString(t.scalar_type()));
  require_same_device(t, like, op, name);
}

void require_same_shape(const Tensor& t, const Tensor& like, const char* op, const char* name) {
  const std::string expected = shape_of(like);
  require(shape_of(t) == expected, op, std::string(name) + " must have the shape " + expected, shape_of(t));
}

void require_norm(const Tensor& x, const Tensor& weight, const char* op) {
  require_float(x, op, "x");
  require_same_type(weight, x, op, "weight");
  require(x.dim() >= 1 && x.size(x.dim() - 1) > 0, op, "x must have a last dimension that is not empty",
          shape_of(x));
  const std::int64_t size = x.size(x.dim() - 1);
  require(weight.dim() == 1 && weight.size(0) == size, op, "weight must have the shape " + shape_of({size}),
          shape_of(weight));
}

Tensor dense(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }

Tensor empty_float(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef size) {
  return torch::stable::new_empty(like, size, ScalarType::Float);
}

Rows rows_of(const Tensor& t) {
  const std::int64_t size = t.size(t.dim() - 1);
  return {size == 0 ? 0 : t.numel() / size, size};
}

Tensor in_type(const Tensor& t, ScalarType type) {
  return type == ScalarType::Float ? t : torch::stable::to(t, type);
}

Tensor rows_from(const Tensor& t, std::int64_t begin, std::int64_t count) {
  Tensor all = t;
  return torch::stable::narrow(all, 0, begin, count);
}

}  // namespace castline::ops
