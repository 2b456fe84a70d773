// What every op needs from PyTorch's stable ABI, on any device: checks that speak like the rest of castline,
// shapes, storage types.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/bfloat16.hpp"

namespace castline::ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

/// "[2, 3]".
std::string shape_of(const Tensor& t);
std::string shape_of(const std::vector<std::int64_t>& sizes);

/// Throws `[op] rule, but got value` unless `ok`.
void require(bool ok, const char* op, const std::string& rule, const std::string& value);

/// Requires float32 or bfloat16.
void require_float(const Tensor& t, const char* op, const char* name);

/// Requires the device of `like`.
void require_same_device(const Tensor& t, const Tensor& like, const char* op, const char* name);

/// Requires the type and the device of `like`.
void require_same_type(const Tensor& t, const Tensor& like, const char* op, const char* name);

/// Requires the shape of `like`.
void require_same_shape(const Tensor& t, const Tensor& like, const char* op, const char* name);

/// Requires a float32 or bfloat16 matrix or more, and `weight` to be a vector of its last size.
void require_norm(const Tensor& x, const Tensor& weight, const char* op);

/// `t` itself where it is contiguous, else a copy that is.
Tensor dense(const Tensor& t);

Tensor empty_float(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef size);

/// The size of the last dimension, and how many rows of it there are.
struct Rows {
  std::int64_t count;
  std::int64_t size;
};
Rows rows_of(const Tensor& t);

/// Calls body(T{}) with T = float or kernels::BFloat16, the type of `t`.
template <class Body>
auto with_type(const Tensor& t, Body body) {
  return t.scalar_type() == ScalarType::BFloat16 ? body(kernels::BFloat16{}) : body(float{});
}

template <class T>
const T* data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

template <class T>
T* mutable_data(const Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

/// A float32 result in the type the caller works in.
Tensor in_type(const Tensor& t, ScalarType type);

/// `t` from row `begin` on, `count` rows.
Tensor rows_from(const Tensor& t, std::int64_t begin, std::int64_t count);

}  // namespace castline::ops
