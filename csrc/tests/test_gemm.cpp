// gemm against sums in double, and the same bits for every level and thread count.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "base/parallel.hpp"
#include "check.hpp"
#include "kernels/gemm/gemm.hpp"

using namespace castline::kernels;

namespace {

std::vector<CpuLevel> levels() {
  std::vector<CpuLevel> all;
  for (const CpuLevel level : {CpuLevel::scalar, CpuLevel::avx2, CpuLevel::avx512}) {
    if (level <= detected_cpu_level()) all.push_back(level);
  }
  return all;
}

ParallelFor on(castline::ThreadPool& pool) {
  return [&pool](std::size_t count, std::size_t grain, const auto& body) { pool.run(count, grain, body); };
}

struct Shape {
  std::int64_t m, n, k;
};

// Stored row by row, or column by column where `transposed`; `bits` holds the same values as bfloat16.
struct Matrix {
  std::vector<float> values;
  std::vector<BFloat16> bits;
  std::int64_t row_stride, column_stride;

  Matrix(std::int64_t rows, std::int64_t columns, bool transposed, std::mt19937& random)
      : values(static_cast<std::size_t>(rows * columns)),
        bits(values.size()),
        row_stride(transposed ? 1 : columns),
        column_stride(transposed ? rows : 1) {
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float drawn = normal(random);
      std::uint32_t raw;
      std::memcpy(&raw, &drawn, sizeof raw);
      bits[i].bits = static_cast<std::uint16_t>(raw >> 16);
      raw = std::uint32_t{bits[i].bits} << 16;
      std::memcpy(&values[i], &raw, sizeof raw);
    }
  }
  double at(std::int64_t i, std::int64_t j) const {
    return values[static_cast<std::size_t>(i * row_stride + j * column_stride)];
  }
  Operand as_float() const { return {values.data(), false, row_stride, column_stride}; }
  Operand as_bfloat16() const { return {bits.data(), true, row_stride, column_stride}; }
};

void test_shape(const Shape& s, bool transpose_a, bool transpose_b, bool accumulate, std::mt19937& random) {
  const Matrix a(s.m, s.k, transpose_a, random);
  const Matrix b(s.k, s.n, transpose_b, random);
  const std::int64_t c_stride = s.n + 3;
  const std::vector<float> before(static_cast<std::size_t>(s.m * c_stride), 7.0F);
  std::vector<float> first;
  for (const CpuLevel level : levels()) {
    for (const int threads : {1, 3}) {
      castline::ThreadPool pool(threads);
      for (const bool narrow : {false, true}) {
        std::vector<float> c = before;
        gemm(s.m, s.n, s.k, narrow ? a.as_bfloat16() : a.as_float(), narrow ? b.as_bfloat16() : b.as_float(),
             c.data(), c_stride, accumulate, level, on(pool));
        if (first.empty()) first = c;
        CHECK(c == first);
      }
    }
  }
  double worst = 0.0;
  bool beside = true;
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t j = 0; j < c_stride; ++j) {
      const double got = first[static_cast<std::size_t>(i * c_stride + j)];
      if (j >= s.n) {
        beside = beside && got == 7.0;
        continue;
      }
      double expected = accumulate ? 7.0 : 0.0;
      double size = 1.0;
      for (std::int64_t p = 0; p < s.k; ++p) {
        expected += a.at(i, p) * b.at(p, j);
        size += std::abs(a.at(i, p) * b.at(p, j));
      }
      worst = std::max(worst, std::abs(got - expected) / size);
    }
  }
  CHECK(worst < 1e-6);
  CHECK(beside);
}

}  // namespace

int main() {
  std::mt19937 random(1);
  for (const Shape& s :
       {Shape{1, 1, 1}, {3, 17, 5}, {8, 32, 256}, {9, 33, 257}, {127, 130, 300}, {6, 16, 1}}) {
    for (int bits = 0; bits < 8; ++bits) {
      test_shape(s, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, random);
    }
  }
  test_shape({2051, 3, 19}, false, false, true, random);  // more rows than are packed at a time
  test_shape({3, 2061, 19}, false, true, false, random);
  test_shape({5, 4, 0}, false, false, false, random);
  test_shape({5, 4, 0}, false, false, true, random);
  return castline::test::finish();
}
