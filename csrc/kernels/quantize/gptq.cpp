#include "kernels/quantize/gptq.hpp"

#include <algorithm>
#include <vector>

#include "kernels/cpu_features.hpp"
#include "kernels/quantize/gptq_levels.hpp"

namespace castline::kernels {
namespace {

GptqRows gptq_rows(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::avx512) return kGptqAvx512;
  if (level == CpuLevel::avx2) return kGptqAvx2;
#else
  (void)level;
#endif
  return kGptqScalar;
}

}  // namespace

void gptq(const GptqProblem& problem, const GptqResult& result, ThreadPool& pool, CpuLevel level) {
  const GptqRows round_rows = gptq_rows(level);
  const std::size_t columns = problem.columns;
  const std::size_t blocks = problem.blocks();
  std::vector<std::vector<std::size_t>> of_block(blocks);
  for (std::size_t i = 0; i < columns; ++i) {
    of_block[static_cast<std::size_t>(problem.order[i]) / problem.block].push_back(i);
  }
  std::vector<std::size_t> places;
  std::vector<std::size_t> first_place{0};
  for (const auto& own : of_block) {
    places.insert(places.end(), own.begin(), own.end());
    first_place.push_back(places.size());
  }
  pool.run((problem.rows + kGptqRows - 1) / kGptqRows, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> weights(columns * kGptqRows);
    std::vector<float> scale(blocks * kGptqRows);
    std::vector<float> zero(blocks * kGptqRows);
    std::vector<std::uint8_t> q(columns * kGptqRows);
    for (std::size_t first = begin * kGptqRows; first < std::min(end * kGptqRows, problem.rows);
         first += kGptqRows) {
      const std::size_t rows = std::min(kGptqRows, problem.rows - first);
      for (std::size_t i = 0; i < columns; ++i) {
        const auto column = static_cast<std::size_t>(problem.order[i]);
        for (std::size_t row = 0; row < kGptqRows; ++row) {
          weights[i * kGptqRows + row] =
              row < rows ? problem.weights[(first + row) * columns + column] : 0.0F;
        }
      }
      std::ranges::fill(scale, 0.0F);
      round_rows({.columns = columns,
                  .block = problem.block,
                  .symmetric = problem.symmetric,
                  .order = problem.order.data(),
                  .factor = problem.factor.data(),
                  .places = places.data(),
                  .first_place = first_place.data(),
                  .weights = weights.data(),
                  .scale = scale.data(),
                  .zero = zero.data(),
                  .q = q.data()});
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t column = 0; column < columns; ++column) {
          result.q[(first + row) * columns + column] = q[column * kGptqRows + row];
        }
        for (std::size_t block = 0; block < blocks; ++block) {
          result.scale[(first + row) * blocks + block] = scale[block * kGptqRows + row];
          result.zero[(first + row) * blocks + block] =
              static_cast<std::uint8_t>(zero[block * kGptqRows + row]);
        }
      }
    }
  });
}

}  // namespace castline::kernels
