// The register tile of gemm. Local to the file that includes it; see micro.hpp.
#pragma once

#include <cstdint>

namespace castline::kernels {
namespace {

// The loops over registers must vanish, or GCC keeps the sums in memory.
#define CASTLINE_UNROLL _Pragma("GCC unroll 16")

/// `Vector` holds Vector::kWidth floats; the tile is Rows by Vectors of them.
template <class Vector, int Rows, int Vectors>
void multiply(std::int64_t depth, const float* a, const float* b, float* c, std::int64_t c_stride,
              std::int64_t rows, std::int64_t columns, bool accumulate) {
  constexpr int kColumns = Vectors * Vector::kWidth;
  Vector sums[Rows][Vectors];
  CASTLINE_UNROLL for (int i = 0; i < Rows; ++i) {
    CASTLINE_UNROLL for (int j = 0; j < Vectors; ++j) sums[i][j] = Vector::all(0.0F);
    if (i < rows) __builtin_prefetch(c + i * c_stride);
  }
  for (std::int64_t p = 0; p < depth; ++p, a += Rows, b += kColumns) {
    Vector of_b[Vectors];
    CASTLINE_UNROLL for (int j = 0; j < Vectors; ++j) of_b[j] = Vector::load(b + j * Vector::kWidth);
    CASTLINE_UNROLL for (int i = 0; i < Rows; ++i) {
      const Vector of_a = Vector::all(a[i]);
      CASTLINE_UNROLL for (int j = 0; j < Vectors; ++j) sums[i][j].add_product(of_a, of_b[j]);
    }
  }
  if (rows == Rows && columns == kColumns) {
    CASTLINE_UNROLL for (int i = 0; i < Rows; ++i) {
      CASTLINE_UNROLL for (int j = 0; j < Vectors; ++j) {
        float* at = c + i * c_stride + j * Vector::kWidth;
        if (accumulate) sums[i][j].add(Vector::load(at));
        sums[i][j].store(at);
      }
    }
    return;
  }
  float tile[Rows * kColumns];
  CASTLINE_UNROLL for (int i = 0; i < Rows; ++i) {
    CASTLINE_UNROLL for (int j = 0; j < Vectors; ++j) {
      sums[i][j].store(tile + i * kColumns + j * Vector::kWidth);
    }
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const float sum = tile[i * kColumns + j];
      c[i * c_stride + j] = accumulate ? c[i * c_stride + j] + sum : sum;
    }
  }
}

#undef CASTLINE_UNROLL

}  // namespace
}  // namespace castline::kernels
