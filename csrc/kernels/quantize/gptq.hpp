// GPTQ (arXiv 2210.17323): a matrix rounded to 4 bits column by column, each one's error made up for by those
// that are still free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/parallel.hpp"
#include "kernels/cpu_features.hpp"

namespace castline::kernels {

struct GptqProblem {
  std::size_t rows, columns;
  /// [rows, columns].
  std::span<const float> weights;
  /// [columns, columns], upper triangular, in the order of `order`: U with Uᵀ U = H⁻¹, H the inputs' Σ x xᵀ.
  std::span<const float> factor;
  /// [columns]: the columns in the order in which they are rounded.
  std::span<const std::int64_t> order;
  /// Columns of a row that share a grid; the last block may be shorter.
  std::size_t block;
  /// Zeros in the middle of the grid instead of anywhere on it.
  bool symmetric;

  std::size_t blocks() const { return (columns + block - 1) / block; }
};

/// Points and grids: value = (q - zero) · scale.
struct GptqResult {
  std::span<std::uint8_t> q;     ///< [rows, columns] in 0…15
  std::span<float> scale;        ///< [rows, blocks], each a binary16 number
  std::span<std::uint8_t> zero;  ///< [rows, blocks]
};

/// A block's grid is chosen when the first of its columns is due, for the weights as they have become by
/// then: of a set of ranges the one with the least squared error, an error counting 1 / Uᵢᵢ², which is what
/// it costs once the later columns have made up for it. Rows are independent, so the result is the same for
/// any number of threads.
void gptq(const GptqProblem& problem, const GptqResult& result, ThreadPool& pool,
          CpuLevel level = cpu_level());

}  // namespace castline::kernels
