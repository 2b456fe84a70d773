// Where the ops run. The files of ops are compiled once per library, and each library has its own backend:
// backend_cpu.cpp for castline/_ops.so, cuda/backend_cuda.cpp for castline/_ops_cuda.so.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/training/kernels.hpp"
#include "ops/tensor.hpp"

namespace castline::ops {

/// The kernels for storage type T: float or kernels::BFloat16.
template <class T>
const kernels::TrainingKernels<T>& kernels_for();

const kernels::FloatKernels& float_kernels();

/// Calls body(begin, end) over ranges that cover `count` rows of `size` elements: on PyTorch's threads, or
/// once for all of them on the device and the stream of `like`.
void for_rows(const Tensor& like, std::int64_t count, std::int64_t size,
              const std::function<void(std::int64_t, std::int64_t)>& body);

/// c = a·b, or c += a·b where `add`: c is a dense float32 matrix, a and b have any strides, float32 or
/// bfloat16.
void multiply(const Tensor& a, const Tensor& b, const Tensor& c, bool add);

/// Rows whose inner values the feed-forward block's backward pass holds at a time: on the CPU few, which
/// costs no speed there; more on a GPU, whose products want them.
extern const std::int64_t kInnerRows;

/// Throws where a target is neither `ignored` nor from 0 to vocabulary - 1, if the targets can be read from
/// here.
void require_targets(const Tensor& targets, std::int64_t vocabulary, std::int64_t ignored, const char* op);

/// The product in the type of `a`.
Tensor product(const Tensor& a, const Tensor& b);

}  // namespace castline::ops

// The dispatch key of the library that is being compiled.
#define CASTLINE_OPS(m) CASTLINE_OPS_FOR(CASTLINE_DEVICE, m)
#define CASTLINE_OPS_FOR(device, m) STABLE_TORCH_LIBRARY_IMPL(castline, device, m)
