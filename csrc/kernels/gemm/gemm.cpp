#include "kernels/gemm/gemm.hpp"

#include <algorithm>
#include <memory>
#include <new>

#include "kernels/gemm/micro.hpp"

namespace castline::kernels {
namespace {

constexpr std::int64_t kDepth = 256;        // along k, per pass: a panel of B stays in the first cache
constexpr std::int64_t kBlock = 2048;       // rows of A and columns of B packed at a time
constexpr std::int64_t kTilePanels = 16;    // a task's tile of C, in panels each way
constexpr std::size_t kPanelGrain = 8;      // panels packed per task
constexpr std::align_val_t kAlignment{64};  // what the micro-kernels' aligned loads need

struct Free {
  void operator()(float* p) const { ::operator delete(p, kAlignment); }
};

// The packed panels, kept by the calling thread between calls: 4 MB at most, so that no call has to wait for
// the system to hand out zeroed pages.
class Scratch {
 public:
  float* reserve(std::int64_t floats) {
    if (floats > size_) {
      data_.reset();
      data_.reset(
          static_cast<float*>(::operator new(static_cast<std::size_t>(floats) * sizeof(float), kAlignment)));
      size_ = floats;
    }
    return data_.get();
  }

 private:
  std::unique_ptr<float, Free> data_;
  std::int64_t size_ = 0;
};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

const GemmLevel& gemm_level(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::avx512) return kGemmAvx512;
  if (level == CpuLevel::avx2) return kGemmAvx2;
#else
  (void)level;
#endif
  return kGemmScalar;
}

// One operand cut into panels: its lanes are the rows of A or the columns of B, its depth runs along k.
struct Strips {
  const Operand& operand;
  std::int64_t lane_stride;
  std::int64_t depth_stride;
  std::int64_t width;  // lanes of a panel
  std::int64_t first_lane;
  std::int64_t lanes;
  float* packed;

  std::int64_t panels() const { return ceil_div(lanes, width); }

  void pack(const GemmLevel& level, std::int64_t panel, std::int64_t first_depth, std::int64_t depth) const {
    const std::int64_t lane = panel * width;
    const std::int64_t offset = (first_lane + lane) * lane_stride + first_depth * depth_stride;
    const std::int64_t count = std::min(width, lanes - lane);
    float* out = packed + lane * depth;
    if (operand.bfloat16) {
      level.pack_bf16(static_cast<const BFloat16*>(operand.data) + offset, lane_stride, depth_stride, count,
                      width, depth, out);
    } else {
      level.pack_f32(static_cast<const float*>(operand.data) + offset, lane_stride, depth_stride, count,
                     width, depth, out);
    }
  }
};

}  // namespace

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Operand& a, const Operand& b, float* c,
          std::int64_t c_stride, bool accumulate, CpuLevel level, const ParallelFor& parallel) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    if (accumulate) return;
    for (std::int64_t i = 0; i < m; ++i) std::fill_n(c + i * c_stride, n, 0.0F);
    return;
  }
  const GemmLevel& kernels = gemm_level(level);
  const std::int64_t rows = kernels.tile_rows;
  const std::int64_t columns = kernels.tile_columns;
  const std::int64_t a_floats = ceil_div(std::min(m, kBlock), rows) * rows * std::min(k, kDepth);
  const std::int64_t b_floats = ceil_div(std::min(n, kBlock), columns) * columns * std::min(k, kDepth);
  static thread_local Scratch scratch;
  float* packed_a = scratch.reserve(ceil_div(a_floats, 16) * 16 + b_floats);
  float* packed_b = packed_a + ceil_div(a_floats, 16) * 16;

  for (std::int64_t first_column = 0; first_column < n; first_column += kBlock) {
    for (std::int64_t first_depth = 0; first_depth < k; first_depth += kDepth) {
      const std::int64_t depth = std::min(kDepth, k - first_depth);
      const Strips strips_b{b,       b.column_stride, b.row_stride,
                            columns, first_column,    std::min(kBlock, n - first_column),
                            packed_b};
      for (std::int64_t first_row = 0; first_row < m; first_row += kBlock) {
        const Strips strips_a{
            a, a.row_stride, a.column_stride, rows, first_row, std::min(kBlock, m - first_row), packed_a};
        const std::int64_t a_panels = strips_a.panels();
        const std::int64_t b_panels = strips_b.panels();
        const std::int64_t new_b_panels = first_row == 0 ? b_panels : 0;
        parallel(static_cast<std::size_t>(a_panels + new_b_panels), kPanelGrain,
                 [&](std::size_t begin, std::size_t end) {
                   for (auto i = static_cast<std::int64_t>(begin); i < static_cast<std::int64_t>(end); ++i) {
                     if (i < a_panels) {
                       strips_a.pack(kernels, i, first_depth, depth);
                     } else {
                       strips_b.pack(kernels, i - a_panels, first_depth, depth);
                     }
                   }
                 });

        const std::int64_t tiles_down = ceil_div(a_panels, kTilePanels);
        const std::int64_t tiles_across = ceil_div(b_panels, kTilePanels);
        const auto tile = [&](std::int64_t index) {
          const std::int64_t a_begin = index / tiles_across * kTilePanels;
          const std::int64_t b_begin = index % tiles_across * kTilePanels;
          for (std::int64_t j = b_begin; j < std::min(b_begin + kTilePanels, b_panels); ++j) {
            for (std::int64_t i = a_begin; i < std::min(a_begin + kTilePanels, a_panels); ++i) {
              const std::int64_t row = i * rows;
              const std::int64_t column = j * columns;
              kernels.multiply(depth, packed_a + row * depth, packed_b + column * depth,
                               c + (first_row + row) * c_stride + first_column + column, c_stride,
                               std::min(rows, strips_a.lanes - row),
                               std::min(columns, strips_b.lanes - column), accumulate || first_depth > 0);
            }
          }
        };
        parallel(static_cast<std::size_t>(tiles_down * tiles_across), 1,
                 [&](std::size_t begin, std::size_t end) {
                   for (std::size_t i = begin; i < end; ++i) tile(static_cast<std::int64_t>(i));
                 });
      }
    }
  }
}

}  // namespace castline::kernels
