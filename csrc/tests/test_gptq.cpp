// GPTQ's kernel: the same bits on every level and for any number of threads, and the plain algorithm's
// result.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "check.hpp"
#include "kernels/quantize/gptq.hpp"

namespace {

using castline::ThreadPool;
using castline::kernels::CpuLevel;
using castline::kernels::GptqProblem;

struct Fitted {
  std::vector<std::uint8_t> q, zero;
  std::vector<float> scale;
  bool operator==(const Fitted&) const = default;
};

struct Case {
  std::size_t rows, columns, block;
  bool symmetric;
  std::vector<float> weights, factor;
  std::vector<std::int64_t> order;

  GptqProblem problem() const {
    return {.rows = rows,
            .columns = columns,
            .weights = weights,
            .factor = factor,
            .order = order,
            .block = block,
            .symmetric = symmetric};
  }
};

Case random_case(std::size_t rows, std::size_t columns, std::size_t block, bool symmetric) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  Case made{.rows = rows,
            .columns = columns,
            .block = block,
            .symmetric = symmetric,
            .weights = {},
            .factor = {},
            .order = {}};
  for (std::size_t i = 0; i < rows * columns; ++i) made.weights.push_back(0.1F * normal(random));
  made.factor.assign(columns * columns, 0.0F);
  for (std::size_t i = 0; i < columns; ++i) {
    made.factor[i * columns + i] = 0.5F + std::abs(normal(random));
    for (std::size_t j = i + 1; j < columns; ++j) made.factor[i * columns + j] = 0.1F * normal(random);
    made.order.push_back(static_cast<std::int64_t>(i));
  }
  std::ranges::shuffle(made.order, random);
  return made;
}

Fitted fitted(const Case& made, int threads, CpuLevel level) {
  const GptqProblem problem = made.problem();
  Fitted result{.q = std::vector<std::uint8_t>(made.rows * made.columns),
                .zero = std::vector<std::uint8_t>(made.rows * problem.blocks()),
                .scale = std::vector<float>(made.rows * problem.blocks())};
  ThreadPool pool(threads);
  castline::kernels::gptq(problem, {.q = result.q, .scale = result.scale, .zero = result.zero}, pool, level);
  return result;
}

/// One row, column by column in double precision, on the grids that the kernel chose.
void check_points(const Case& made, const Fitted& found) {
  const std::size_t blocks = made.problem().blocks();
  std::size_t different = 0;
  for (std::size_t row = 0; row < made.rows; ++row) {
    std::vector<double> left(made.weights.begin() + static_cast<std::ptrdiff_t>(row * made.columns),
                             made.weights.begin() + static_cast<std::ptrdiff_t>((row + 1) * made.columns));
    for (std::size_t i = 0; i < made.columns; ++i) {
      const auto column = static_cast<std::size_t>(made.order[i]);
      const double scale = found.scale[row * blocks + column / made.block];
      const double zero = found.zero[row * blocks + column / made.block];
      const double exact = std::clamp(std::rint(left[column] / scale) + zero, 0.0, 15.0);
      const double q = found.q[row * made.columns + column];
      // A weight half-way between two points may go to either, in floats.
      if (q != exact) ++different;
      CHECK(std::abs(q - exact) <= 1.0);
      const double error = (left[column] - (q - zero) * scale) / made.factor[i * made.columns + i];
      for (std::size_t j = i + 1; j < made.columns; ++j) {
        left[static_cast<std::size_t>(made.order[j])] -= made.factor[i * made.columns + j] * error;
      }
    }
  }
  CHECK(different * 500 <= made.rows * made.columns);
}

}  // namespace

int main() {
  for (const bool symmetric : {false, true}) {
    for (const std::size_t block : {32, 64, 128}) {
      const Case made = random_case(37, 160, block, symmetric);
      const Fitted one = fitted(made, 1, CpuLevel::scalar);
      check_points(made, one);
      for (const std::uint8_t zero : one.zero) CHECK(symmetric ? zero == 8 : zero <= 15);
      CHECK(fitted(made, 3, CpuLevel::scalar) == one);
      for (int level = 1; level <= static_cast<int>(castline::kernels::detected_cpu_level()); ++level) {
        CHECK(fitted(made, 1, static_cast<CpuLevel>(level)) == one);
      }
    }
  }
  return castline::test::finish();
}
