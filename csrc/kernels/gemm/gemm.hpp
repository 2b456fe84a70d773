// Matrix multiplication in float32 for the training ops: no BLAS, and the same bits for any thread count.
//
// The blocked algorithm of Goto and van de Geijn (ACM TOMS 34, 2008): both operands are packed into panels
// that stay in cache, and a micro-kernel keeps a tile of C in registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "kernels/bfloat16.hpp"
#include "kernels/cpu_features.hpp"

namespace castline::kernels {

/// A matrix whose element (i, j) lies at data[i · row_stride + j · column_stride].
struct Operand {
  const void* data;
  bool bfloat16;  ///< else float
  std::int64_t row_stride;
  std::int64_t column_stride;
};

/// Runs body(begin, end) over disjoint ranges that cover [0, count), each about `grain` long or longer:
/// ThreadPool::run or a framework's own.
using ParallelFor = std::function<void(std::size_t count, std::size_t grain,
                                       const std::function<void(std::size_t, std::size_t)>& body)>;

/// C = A·B, or C += A·B where `accumulate`; A is m by k, B is k by n, the rows of C are `c_stride` apart.
///
/// An element's products are added one after the other, by fused multiply-add, in blocks of 256 along k,
/// and the blocks in order: every level and thread count gives the same bits.
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Operand& a, const Operand& b, float* c,
          std::int64_t c_stride, bool accumulate, CpuLevel level, const ParallelFor& parallel);

}  // namespace castline::kernels
