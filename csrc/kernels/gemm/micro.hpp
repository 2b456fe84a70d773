// What of gemm is compiled once per CPU level: packing into panels and the register tile.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.hpp"
#include "kernels/cpu_features.hpp"

namespace castline::kernels {

struct GemmLevel {
  std::int64_t tile_rows;
  std::int64_t tile_columns;

  /// panel[p · width + i] = source[i · lane_stride + p · depth_stride] for i < lanes, 0 for the rest of
  /// `width`.
  void (*pack_f32)(const float* source, std::int64_t lane_stride, std::int64_t depth_stride,
                   std::int64_t lanes, std::int64_t width, std::int64_t depth, float* panel);
  void (*pack_bf16)(const BFloat16* source, std::int64_t lane_stride, std::int64_t depth_stride,
                    std::int64_t lanes, std::int64_t width, std::int64_t depth, float* panel);

  /// c[i · c_stride + j] (+)= sum over p of a[p · tile_rows + i] · b[p · tile_columns + j], i < rows, j <
  /// columns.
  void (*multiply)(std::int64_t depth, const float* a, const float* b, float* c, std::int64_t c_stride,
                   std::int64_t rows, std::int64_t columns, bool accumulate);
};

extern const GemmLevel kGemmScalar;
extern const GemmLevel kGemmAvx2;
extern const GemmLevel kGemmAvx512;

}  // namespace castline::kernels
