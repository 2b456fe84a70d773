// The decoder kernels over the vector operations of one level. Included by decoder_<level>.cpp after
// simd_<level>.hpp, which defines Simd. Everything here is local to that file (cpu_features.hpp says why).

#include <cstddef>
#include <cstdint>

#include "kernels/decoder_kernels.hpp"

namespace {

using castline::kernels::Int4Matrix;
using castline::kernels::kActivationMax;
using castline::kernels::kDotBlock;

using F = Simd::F;
constexpr std::size_t kLanes = Simd::kLanes;
constexpr int kRows = Simd::kRows;
constexpr int kChannels = 4;
// Channels whose block of weights stays in the second-level cache while all rows of x pass by.
constexpr std::size_t kPanel = 64;

// How far ahead, in bytes, a single row asks for weights: memory is its limit, and pages end the
// processor's own prefetching every 4096.
constexpr std::size_t kAhead = 8192;

constexpr std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

// e^x to a few units in the last place: x = n·ln 2 + r with |r| ≤ ln 2 / 2, the Taylor series of e^r to
// degree 7 (its remainder is below 6e-9), times 2^n. Arguments are held to what a normal float can be.
inline F exponential(F x) {
  x = Simd::max(Simd::set(-87.3F), x);
  x = Simd::min(Simd::set(88.3F), x);
  const F n = Simd::round(Simd::mul(x, Simd::set(1.44269504F)));
  // ln 2 in two parts; the first has few enough bits that its product with n is exact.
  F r = Simd::sub(x, Simd::mul(n, Simd::set(0.693359375F)));
  r = Simd::sub(r, Simd::mul(n, Simd::set(-2.12194440e-4F)));
  F y = Simd::set(1.0F / 5040.0F);
  y = Simd::fma(y, r, Simd::set(1.0F / 720.0F));
  y = Simd::fma(y, r, Simd::set(1.0F / 120.0F));
  y = Simd::fma(y, r, Simd::set(1.0F / 24.0F));
  y = Simd::fma(y, r, Simd::set(1.0F / 6.0F));
  y = Simd::fma(y, r, Simd::set(0.5F));
  y = Simd::fma(y, r, Simd::set(1.0F));
  y = Simd::fma(y, r, Simd::set(1.0F));
  return Simd::mul(y, Simd::power_of_two(n));
}

// Calls tile(rows as a constant, first row) until all rows are done, the largest tiles first.
template <int M, typename Tile>
inline void each_row_tile(std::size_t rows, std::size_t from, const Tile& tile) {
  for (; from + M <= rows; from += M) tile.template operator()<M>(from);
  if constexpr (M > 1) {
    if (from < rows) each_row_tile<M - 1>(rows, from, tile);
  }
}

#include "kernels/int4_kernels.inl"
#include "kernels/product_kernels.inl"

// ---- the small steps ----------------------------------------------------------------------------

void rms_norm(const float* x, const float* weight, std::size_t size, float eps, float* y) {
  F sums = Simd::set(0.0F);
  for (std::size_t i = 0; i < size; i += kLanes) {
    const F v = Simd::load(x + i, smaller(kLanes, size - i));
    sums = Simd::fma(v, v, sums);
  }
  const float mean = Simd::sum(sums) / static_cast<float>(size);
  const F factor = Simd::set(1.0F / __builtin_sqrtf(mean + eps));
  for (std::size_t i = 0; i < size; i += kLanes) {
    const std::size_t n = smaller(kLanes, size - i);
    Simd::store(y + i, Simd::mul(Simd::mul(Simd::load(x + i, n), factor), Simd::load(weight + i, n)), n);
  }
}

void rope(float* x, std::size_t heads, std::size_t head_dim, const float* cos, const float* sin) {
  const std::size_t half = head_dim / 2;
  for (std::size_t h = 0; h < heads; ++h) {
    float* low = x + h * head_dim;
    float* high = low + half;
    for (std::size_t i = 0; i < half; i += kLanes) {
      const std::size_t n = smaller(kLanes, half - i);
      const F a = Simd::load(low + i, n);
      const F b = Simd::load(high + i, n);
      const F c = Simd::load(cos + i, n);
      const F s = Simd::load(sin + i, n);
      Simd::store(low + i, Simd::sub(Simd::mul(a, c), Simd::mul(b, s)), n);
      Simd::store(high + i, Simd::fma(b, c, Simd::mul(a, s)), n);
    }
  }
}

void swiglu(float* gate, const float* up, std::size_t size) {
  for (std::size_t i = 0; i < size; i += kLanes) {
    const std::size_t n = smaller(kLanes, size - i);
    const F g = Simd::load(gate + i, n);
    const F denominator = Simd::add(Simd::set(1.0F), exponential(Simd::sub(Simd::set(0.0F), g)));
    Simd::store(gate + i, Simd::mul(Simd::div(g, denominator), Simd::load(up + i, n)), n);
  }
}

void add(float* x, const float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; i += kLanes) {
    const std::size_t n = smaller(kLanes, size - i);
    Simd::store(x + i, Simd::add(Simd::load(x + i, n), Simd::load(y + i, n)), n);
  }
}

float maximum(const float* x, std::size_t size) {
  F most = Simd::set(x[0]);
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) most = Simd::max(Simd::load(x + i), most);
  float result = Simd::largest(most);
  for (; i < size; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// x = exp(x - shift); returns the sum.
inline float exponentials(float* x, std::size_t size, float shift) {
  F sums = Simd::set(0.0F);
  const F by = Simd::set(shift);
  for (std::size_t i = 0; i < size; i += kLanes) {
    const std::size_t n = smaller(kLanes, size - i);
    Simd::store(x + i, exponential(Simd::sub(Simd::load(x + i, n), by)), n);
    sums = Simd::add(sums, Simd::load(x + i, n));  // read back: lanes past the end count as 0
  }
  return Simd::sum(sums);
}

float log_sum_exp(const float* x, std::size_t size) {
  const float most = maximum(x, size);
  // Pieces on the stack, their sums added in double.
  constexpr std::size_t kPiece = 1024;
  float piece[kPiece];
  double total = 0.0;
  for (std::size_t i = 0; i < size; i += kPiece) {
    const std::size_t n = smaller(kPiece, size - i);
    __builtin_memcpy(piece, x + i, n * sizeof(float));
    total += exponentials(piece, n, most);
  }
  return most + static_cast<float>(__builtin_log(total));
}

#include "kernels/attention_kernels.inl"

constexpr castline::kernels::DecoderKernels kTable = {
    matmul_float<Singles>,
    matmul_float<Halves>,
    matmul_float<BFloats>,
    matmul_i8,
    quantize,
    matmul_i4,
    quantize_i8,
    rms_norm,
    rope,
    swiglu,
    add,
    attention<FloatCache>,
    attention<Int8Cache>,
    maximum,
    log_sum_exp,
};

}  // namespace
