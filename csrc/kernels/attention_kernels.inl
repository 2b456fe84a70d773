// Attention to the cache over the vector operations of one level. Included by decoder_kernels.inl.

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
