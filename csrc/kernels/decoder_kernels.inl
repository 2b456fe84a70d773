// The decoder kernels over the vector operations of one level. Included by decoder_<level>.cpp after
// simd_<level>.hpp, which defines Simd. Everything here is local to that file (cpu_features.hpp says why).
//
// Register tile of the products: Simd::kRows rows of x by four channels of w, each sum one vector along
// the shared dimension, folded to a number at the end of a block. Nothing is packed, so weights are
// read where they are mapped, and one row costs what a matrix-vector product costs.

#include <cstddef>
#include <cstdint>

#include "kernels/decoder_kernels.hpp"

namespace {

using castline::kernels::AttentionTask;
using castline::kernels::Int4Matrix;
using castline::kernels::kActivationMax;
using castline::kernels::kDotBlock;
using castline::kernels::kKeyBlock;

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

// ---- products with weights ----------------------------------------------------------------------

// One block of the dimension: y (+)= x · wᵀ for M rows and N channels, N being 4 or 1.
template <int M, int N>
inline void tile_f32(const float* x, std::size_t x_stride, const float* w, std::size_t w_stride,
                     std::size_t n, bool first, float* y, std::size_t y_stride) {
  F sums[M][N];
  for (int m = 0; m < M; ++m) {
    for (int c = 0; c < N; ++c) sums[m][c] = Simd::set(0.0F);
  }
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    F rows[M];
    for (int m = 0; m < M; ++m) rows[m] = Simd::load(x + m * x_stride + i);
    for (int c = 0; c < N; ++c) {
      const F weight = Simd::load(w + c * w_stride + i);
      for (int m = 0; m < M; ++m) sums[m][c] = Simd::fma(rows[m], weight, sums[m][c]);
    }
  }
  if (i < n) {
    for (int c = 0; c < N; ++c) {
      const F weight = Simd::load(w + c * w_stride + i, n - i);
      for (int m = 0; m < M; ++m) {
        sums[m][c] = Simd::fma(Simd::load(x + m * x_stride + i, n - i), weight, sums[m][c]);
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    float out[N];
    if constexpr (N == kChannels) {
      Simd::sum4(sums[m], out);
    } else {
      out[0] = Simd::sum(sums[m][0]);
    }
    for (int c = 0; c < N; ++c) {
      float& to = y[m * y_stride + c];
      to = first ? out[c] : to + out[c];
    }
  }
}

template <int M, int N>
inline void tile_i8(const std::int16_t* x, std::size_t x_stride, const float* x_scale,
                    std::size_t scale_stride, const std::int8_t* w, std::size_t w_stride,
                    const float* w_scale, std::size_t n, bool first, bool last, float* y,
                    std::size_t y_stride) {
  Simd::I sums[M][N];
  for (int m = 0; m < M; ++m) {
    for (int c = 0; c < N; ++c) sums[m][c] = Simd::zero();
  }
  std::size_t i = 0;
  for (; i + Simd::kShorts <= n; i += Simd::kShorts) {
    Simd::S rows[M];
    for (int m = 0; m < M; ++m) rows[m] = Simd::load_shorts(x + m * x_stride + i);
    for (int c = 0; c < N; ++c) {
      const Simd::S weight = Simd::load_bytes(w + c * w_stride + i);
      for (int m = 0; m < M; ++m) sums[m][c] = Simd::dot(sums[m][c], rows[m], weight);
    }
  }
  if (i < n) {
    for (int c = 0; c < N; ++c) {
      const Simd::S weight = Simd::load_bytes(w + c * w_stride + i, n - i);
      for (int m = 0; m < M; ++m) {
        sums[m][c] = Simd::dot(sums[m][c], Simd::load_shorts(x + m * x_stride + i, n - i), weight);
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    std::int32_t out[N];
    if constexpr (N == kChannels) {
      Simd::sum4(sums[m], out);
    } else {
      out[0] = Simd::sum(sums[m][0]);
    }
    const float scale = x_scale[m * scale_stride];
    float* to = y + m * y_stride;
    float values[N];
    for (int c = 0; c < N; ++c) values[c] = static_cast<float>(out[c]) * scale;
    if (!first) {
      for (int c = 0; c < N; ++c) values[c] = to[c] + values[c];
    }
    if (last) {
      for (int c = 0; c < N; ++c) values[c] *= w_scale[c];
    }
    for (int c = 0; c < N; ++c) to[c] = values[c];
  }
}

// A single row of x, where memory is the limit: one dot product after the other, in the order of memory.
// Each is summed exactly as a tile sums it.
void row_f32(const float* x, const float* w, std::size_t channels, std::size_t size, float* y) {
  for (std::size_t c = 0; c < channels; ++c, w += size) {
    float total = 0.0F;
    for (std::size_t b = 0; b < size; b += kDotBlock) {
      const std::size_t end = smaller(b + kDotBlock, size);
      F sums = Simd::set(0.0F);
      std::size_t i = b;
      for (; i + kLanes <= end; i += kLanes) {
        __builtin_prefetch(w + i + kAhead / sizeof *w);
        sums = Simd::fma(Simd::load(x + i), Simd::load(w + i), sums);
      }
      if (i < end) sums = Simd::fma(Simd::load(x + i, end - i), Simd::load(w + i, end - i), sums);
      total = b == 0 ? Simd::sum(sums) : total + Simd::sum(sums);
    }
    y[c] = total;
  }
}

void row_i8(const std::int16_t* x, const float* x_scale, const std::int8_t* w, const float* w_scale,
            std::size_t channels, std::size_t size, float* y) {
  for (std::size_t c = 0; c < channels; ++c, w += size) {
    float total = 0.0F;
    for (std::size_t b = 0; b < size; b += kDotBlock) {
      const std::size_t end = smaller(b + kDotBlock, size);
      Simd::I sums = Simd::zero();
      std::size_t i = b;
      for (; i + Simd::kShorts <= end; i += Simd::kShorts) {
        __builtin_prefetch(w + i + kAhead);
        sums = Simd::dot(sums, Simd::load_shorts(x + i), Simd::load_bytes(w + i));
      }
      if (i < end) {
        sums = Simd::dot(sums, Simd::load_shorts(x + i, end - i), Simd::load_bytes(w + i, end - i));
      }
      const float part = static_cast<float>(Simd::sum(sums)) * x_scale[b / kDotBlock];
      total = b == 0 ? part : total + part;
    }
    y[c] = total * w_scale[c];
  }
}

// Calls tile(rows as a constant, first row) until all rows are done, the largest tiles first.
template <int M, typename Tile>
inline void each_row_tile(std::size_t rows, std::size_t from, const Tile& tile) {
  for (; from + M <= rows; from += M) tile.template operator()<M>(from);
  if constexpr (M > 1) {
    if (from < rows) each_row_tile<M - 1>(rows, from, tile);
  }
}

// Calls body(block begin, block length, first channel, end of channels) so that weights come from memory
// once: a register tile of channels at a time while few rows pass by, else a panel.
template <typename Body>
inline void each_panel(std::size_t rows, std::size_t channels, std::size_t size, const Body& body) {
  const std::size_t panel = rows <= static_cast<std::size_t>(kRows) ? kChannels : kPanel;
  for (std::size_t c = 0; c < channels; c += panel) {
    for (std::size_t i = 0; i < size; i += kDotBlock) {
      body(i, smaller(kDotBlock, size - i), c, smaller(c + panel, channels));
    }
  }
}

void matmul_f32(const float* x, std::size_t rows, const float* w, std::size_t channels, std::size_t size,
                float* y, std::size_t y_stride) {
  if (rows == 1) {
    row_f32(x, w, channels, size, y);
    return;
  }
  each_panel(rows, channels, size, [&](std::size_t i, std::size_t n, std::size_t begin, std::size_t end) {
    each_row_tile<kRows>(rows, 0, [&]<int M>(std::size_t r) {
      const float* xr = x + r * size + i;
      float* yr = y + r * y_stride;
      std::size_t c = begin;
      for (; c + kChannels <= end; c += kChannels) {
        tile_f32<M, kChannels>(xr, size, w + c * size + i, size, n, i == 0, yr + c, y_stride);
      }
      for (; c < end; ++c) tile_f32<M, 1>(xr, size, w + c * size + i, size, n, i == 0, yr + c, y_stride);
    });
  });
}

void matmul_i8(const std::int16_t* x, const float* x_scale, std::size_t rows, const std::int8_t* w,
               const float* w_scale, std::size_t channels, std::size_t size, float* y, std::size_t y_stride) {
  if (rows == 1) {
    row_i8(x, x_scale, w, w_scale, channels, size, y);
    return;
  }
  const std::size_t blocks = castline::kernels::dot_blocks(size);
  each_panel(rows, channels, size, [&](std::size_t i, std::size_t n, std::size_t begin, std::size_t end) {
    const bool last = i + n == size;
    each_row_tile<kRows>(rows, 0, [&]<int M>(std::size_t r) {
      const std::int16_t* xr = x + r * size + i;
      const float* scale = x_scale + r * blocks + i / kDotBlock;
      float* yr = y + r * y_stride;
      std::size_t c = begin;
      for (; c + kChannels <= end; c += kChannels) {
        tile_i8<M, kChannels>(xr, size, scale, blocks, w + c * size + i, size, w_scale + c, n, i == 0, last,
                              yr + c, y_stride);
      }
      for (; c < end; ++c) {
        tile_i8<M, 1>(xr, size, scale, blocks, w + c * size + i, size, w_scale + c, n, i == 0, last, yr + c,
                      y_stride);
      }
    });
  });
}

void quantize(const float* x, std::size_t rows, std::size_t size, std::int16_t* q, float* scale) {
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t i = 0; i < size; i += kDotBlock, ++scale) {
      const float* from = x + r * size + i;
      std::int16_t* to = q + r * size + i;
      const std::size_t n = smaller(kDotBlock, size - i);
      F largest = Simd::set(0.0F);
      F not_finite = Simd::set(0.0F);  // 0 · x is 0, or NaN for what is not finite
      for (std::size_t j = 0; j < n; j += kLanes) {
        const F v = Simd::load(from + j, smaller(kLanes, n - j));
        largest = Simd::max(largest, Simd::abs(v));
        not_finite = Simd::fma(v, Simd::set(0.0F), not_finite);
      }
      const float most = Simd::largest(largest);
      const float poison = Simd::sum(not_finite);
      if (poison != poison || most == 0.0F) {
        for (std::size_t j = 0; j < n; ++j) to[j] = 0;
        *scale = poison;
        continue;
      }
      // Dividing, not multiplying by an inverse: that of the smallest floats is infinite.
      const F unit = Simd::set(most);
      for (std::size_t j = 0; j < n; j += kLanes) {
        const std::size_t count = smaller(kLanes, n - j);
        const F part = Simd::div(Simd::load(from + j, count), unit);
        Simd::store_shorts(
            to + j, Simd::round(Simd::mul(part, Simd::set(static_cast<float>(kActivationMax)))), count);
      }
      *scale = most / static_cast<float>(kActivationMax);
    }
  }
}

#include "kernels/int4_kernels.inl"

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

// ---- attention ----------------------------------------------------------------------------------

// A tile is M rows by W vectors: of positions for the scores, of head elements for the values.
constexpr int kWide = 4;
static_assert(kWide * kLanes % kKeyBlock == 0 && kKeyBlock % kLanes == 0);

template <int M, int W>
inline void score_tile(const AttentionTask& task, const float* query, const float* keys, float* scores,
                       std::size_t stride) {
  F sums[M][W];
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) sums[m][w] = Simd::set(0.0F);
  }
  const std::size_t block = task.head_dim * kKeyBlock;
  for (std::size_t i = 0; i < task.head_dim; ++i) {
    F elements[M];
    for (int m = 0; m < M; ++m) elements[m] = Simd::set(query[m * task.query_stride + i]);
    for (int w = 0; w < W; ++w) {
      const std::size_t lane = w * kLanes;
      const F key = Simd::load(keys + lane / kKeyBlock * block + i * kKeyBlock + lane % kKeyBlock);
      for (int m = 0; m < M; ++m) sums[m][w] = Simd::fma(elements[m], key, sums[m][w]);
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) {
      Simd::store(scores + m * stride + w * kLanes, Simd::mul(sums[m][w], Simd::set(task.scale)));
    }
  }
}

template <int M, int W>
inline void value_tile(const float* weights, std::size_t stride, const float* factors, const float* values,
                       std::size_t positions, std::size_t head_dim, std::size_t n, float* out,
                       std::size_t out_stride) {
  F sums[M][W];
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) sums[m][w] = Simd::set(0.0F);
  }
  for (std::size_t j = 0; j < positions; ++j) {
    F weight[M];
    for (int m = 0; m < M; ++m) weight[m] = Simd::set(weights[m * stride + j]);
    for (int w = 0; w < W; ++w) {
      const float* at = values + j * head_dim + w * kLanes;
      const F value = W == 1 ? Simd::load(at, n) : Simd::load(at);
      for (int m = 0; m < M; ++m) sums[m][w] = Simd::fma(weight[m], value, sums[m][w]);
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) {
      float* to = out + m * out_stride + w * kLanes;
      Simd::store(to, Simd::mul(sums[m][w], Simd::set(factors[m])), W == 1 ? n : kLanes);
    }
  }
}

void attention(const AttentionTask& task) {
  const std::size_t stride = castline::kernels::round_up(task.first + task.rows, kKeyBlock);
  each_row_tile<kRows>(task.rows, 0, [&]<int M>(std::size_t r) {
    const std::size_t seen = task.first + r + M;  // positions that the tile's last row sees
    const float* query = task.query + r * task.query_stride;
    float* scores = task.scores + r * stride;
    std::size_t j = 0;
    for (; j + kWide * kLanes <= castline::kernels::round_up(seen, kKeyBlock); j += kWide * kLanes) {
      score_tile<M, kWide>(task, query, task.keys + j * task.head_dim, scores + j, stride);
    }
    for (; j < seen; j += kKeyBlock) {
      score_tile<M, kKeyBlock / kLanes>(task, query, task.keys + j * task.head_dim, scores + j, stride);
    }
    float factors[M];
    for (int m = 0; m < M; ++m) {
      float* row = scores + m * stride;
      const std::size_t own = seen - static_cast<std::size_t>(M - 1 - m);
      factors[m] = 1.0F / exponentials(row, own, maximum(row, own));
      for (std::size_t k = own; k < seen; ++k) row[k] = 0.0F;
    }
    float* out = task.out + r * task.out_stride;
    std::size_t i = 0;
    for (; i + kWide * kLanes <= task.head_dim; i += kWide * kLanes) {
      value_tile<M, kWide>(scores, stride, factors, task.values + i, seen, task.head_dim, kLanes, out + i,
                           task.out_stride);
    }
    for (; i < task.head_dim; i += kLanes) {
      value_tile<M, 1>(scores, stride, factors, task.values + i, seen, task.head_dim,
                       smaller(kLanes, task.head_dim - i), out + i, task.out_stride);
    }
  });
}

constexpr castline::kernels::DecoderKernels kTable = {
    matmul_f32, matmul_i8, quantize, matmul_i4, quantize_i8, rms_norm,
    rope,       swiglu,    add,      attention, maximum,     log_sum_exp,
};

}  // namespace
