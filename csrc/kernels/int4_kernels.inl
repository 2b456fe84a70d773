// Products with int4 weights over the vector operations of one level. Included by decoder_kernels.inl.
//
// The sixteen channels of a group lie in the lanes of one or two vectors, so a block's sums need no folding,
// and a vector of scales serves them all. Four neighbouring elements of a channel fill a 32-bit lane; the
// same four activations, broadcast, meet all channels at once.

constexpr std::size_t kGroup = castline::kernels::kInt4Group;
constexpr std::size_t kBlock = castline::kernels::kInt4Block;
constexpr int kGroupVectors = static_cast<int>(kGroup / kLanes);
constexpr std::size_t kVectorBytes = 4 * kLanes;

// The group's channels for M rows of x: out[m * kGroup + channel].
template <int M>
inline void group_i4(const std::int8_t* x, const float* x_scale, const float* x_sum, const Int4Matrix& w,
                     std::size_t group, float* out) {
  constexpr int V = kGroupVectors;
  const std::size_t blocks = w.size / kBlock;
  const std::size_t per_scale = w.block / kBlock;
  const std::uint8_t* q = w.q + group * blocks * castline::kernels::kInt4BlockBytes;
  const std::size_t grids = (w.size + w.block - 1) / w.block * kGroup;
  const std::uint16_t* scale = w.scale + group * grids;
  const std::uint8_t* zero = w.zero + group * grids;
  F totals[M][V];
  for (int m = 0; m < M; ++m) {
    for (int v = 0; v < V; ++v) totals[m][v] = Simd::set(0.0F);
  }
  for (std::size_t b = 0; b < blocks; ++b) {
    Simd::Q sums[M][V];
    for (int m = 0; m < M; ++m) {
      for (int v = 0; v < V; ++v) sums[m][v] = Simd::zero_quads();
    }
    if constexpr (M == 1) {
      __builtin_prefetch(q + kAhead / 2);
      __builtin_prefetch(q + kAhead / 2 + 64);
      __builtin_prefetch(q + kAhead / 2 + 128);
      __builtin_prefetch(q + kAhead / 2 + 192);
    }
    for (std::size_t j = 0; j < kBlock; j += 8, q += 4 * kGroup) {
      Simd::B low[V];
      Simd::B high[V];
      for (int v = 0; v < V; ++v) {
        const Simd::B both = Simd::load_nibbles(q + v * kVectorBytes);
        low[v] = Simd::low_nibbles(both);
        high[v] = Simd::high_nibbles(both);
      }
      for (int m = 0; m < M; ++m) {
        const std::int8_t* at = x + m * w.size + b * kBlock + j;
        const Simd::B first = Simd::broadcast_quad(at);
        const Simd::B second = Simd::broadcast_quad(at + 4);
        for (int v = 0; v < V; ++v) {
          sums[m][v] = Simd::dot_quads(sums[m][v], low[v], first);
          sums[m][v] = Simd::dot_quads(sums[m][v], high[v], second);
        }
      }
    }
    for (int v = 0; v < V; ++v) {
      const std::size_t at = b / per_scale * kGroup + v * kLanes;
      const F weight_scale = Simd::load_halves(scale + at);
      const F offset = Simd::load_bytes_as_floats(zero + at);
      for (int m = 0; m < M; ++m) {
        // Σ (q - zero) · x of the block: whole numbers below 2^24, so exact.
        const F sum =
            Simd::sub(Simd::to_floats(sums[m][v]), Simd::mul(offset, Simd::set(x_sum[m * blocks + b])));
        const F unit = Simd::mul(weight_scale, Simd::set(x_scale[m * blocks + b]));
        totals[m][v] = Simd::fma(sum, unit, totals[m][v]);
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int v = 0; v < V; ++v) Simd::store(out + m * kGroup + v * kLanes, totals[m][v]);
  }
}

void matmul_i4(const std::int8_t* x, const float* x_scale, const float* x_sum, std::size_t rows,
               const Int4Matrix& w, std::size_t begin, std::size_t end, float* y, std::size_t y_stride) {
  const std::size_t blocks = w.size / kBlock;
  for (std::size_t group = begin / kGroup; group * kGroup < end; ++group) {
    const std::size_t first = group * kGroup < begin ? begin : group * kGroup;
    const std::size_t last = smaller(group * kGroup + kGroup, end);
    each_row_tile<Simd::kInt4Rows>(rows, 0, [&]<int M>(std::size_t r) {
      float out[M * kGroup];
      group_i4<M>(x + r * w.size, x_scale + r * blocks, x_sum + r * blocks, w, group, out);
      for (int m = 0; m < M; ++m) {
        float* to = y + (r + static_cast<std::size_t>(m)) * y_stride;
        for (std::size_t c = first; c < last; ++c) to[c] = out[m * kGroup + c - group * kGroup];
      }
    });
  }
}

void quantize_i8(const float* x, std::size_t rows, std::size_t size, std::int8_t* q, float* scale,
                 float* sum) {
  constexpr float kMost = 127.0F;
  for (std::size_t at = 0; at < rows * size; at += kBlock, ++scale, ++sum) {
    F largest = Simd::set(0.0F);
    F not_finite = Simd::set(0.0F);  // 0 · x is 0, or NaN for what is not finite
    for (std::size_t j = 0; j < kBlock; j += kLanes) {
      const F v = Simd::load(x + at + j);
      largest = Simd::max(largest, Simd::abs(v));
      not_finite = Simd::fma(v, Simd::set(0.0F), not_finite);
    }
    const float most = Simd::largest(largest);
    const float poison = Simd::sum(not_finite);
    *sum = 0.0F;
    if (poison != poison || most == 0.0F) {
      for (std::size_t j = 0; j < kBlock; ++j) q[at + j] = 0;
      *scale = poison;
      continue;
    }
    F total = Simd::set(0.0F);
    for (std::size_t j = 0; j < kBlock; j += kLanes) {
      const F part = Simd::div(Simd::load(x + at + j), Simd::set(most));
      const F rounded = Simd::round(Simd::mul(part, Simd::set(kMost)));
      total = Simd::add(total, rounded);
      Simd::store_bytes(q + at + j, rounded);
    }
    *scale = most / kMost;
    *sum = Simd::sum(total);
  }
}
