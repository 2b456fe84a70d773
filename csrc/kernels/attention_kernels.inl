// Attention to the cache over the vector operations of one level. Included by decoder_kernels.inl.
//
// A tile is M rows by W vectors: of positions for the scores, of head elements for the values. Rows are the
// query heads that share a head of keys and values, position after position, so that what is read of the
// cache serves all of them.

using castline::kernels::AttentionTask;
using castline::kernels::FloatCache;
using castline::kernels::Int8Cache;
using castline::kernels::kCacheBlock;
using castline::kernels::kKeyBlock;

constexpr int kWide = 4;
constexpr int kKeyVectors = static_cast<int>(kKeyBlock / kLanes);
constexpr int kBlockVectors = static_cast<int>(kCacheBlock / kLanes);
static_assert(kWide % kKeyVectors == 0);

template <int M>
struct QueryRows {
  const float* at[M];
};

template <int M, int W>
inline void store_scores(const F (&sums)[M][W], float scale, float* scores, std::size_t stride) {
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) {
      Simd::store(scores + m * stride + w * kLanes, Simd::mul(sums[m][w], Simd::set(scale)));
    }
  }
}

// Scores of W vectors of positions from `position` on: scores[m * stride + …] = scale · query · key.
template <int M, int W>
inline void score_tile(const AttentionTask& task, const FloatCache& cache, const QueryRows<M>& query,
                       std::size_t position, float* scores, std::size_t stride) {
  F sums[M][W];
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) sums[m][w] = Simd::set(0.0F);
  }
  const std::size_t block = task.head_dim * kKeyBlock;
  const float* keys = cache.keys + position * task.head_dim;
  for (std::size_t i = 0; i < task.head_dim; ++i) {
    F elements[M];
    for (int m = 0; m < M; ++m) elements[m] = Simd::set(query.at[m][i]);
    for (int w = 0; w < W; ++w) {
      const std::size_t lane = w * kLanes;
      const F key = Simd::load(keys + lane / kKeyBlock * block + i * kKeyBlock + lane % kKeyBlock);
      for (int m = 0; m < M; ++m) sums[m][w] = Simd::fma(elements[m], key, sums[m][w]);
    }
  }
  store_scores<M, W>(sums, task.scale, scores, stride);
}

// The same for int8 keys: a block's sum is of whole numbers times the query, then meets the block's scale.
template <int M, int W>
inline void score_tile(const AttentionTask& task, const Int8Cache& cache, const QueryRows<M>& query,
                       std::size_t position, float* scores, std::size_t stride) {
  F totals[M][W];
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) totals[m][w] = Simd::set(0.0F);
  }
  const std::size_t block = task.head_dim * kKeyBlock;
  const std::size_t scale_block = castline::kernels::cache_blocks(task.head_dim) * kKeyBlock;
  const std::int8_t* keys = cache.keys + position * task.head_dim;
  const std::uint16_t* scales = cache.key_scales + position / kKeyBlock * scale_block;
  for (std::size_t b = 0; b < task.head_dim; b += kCacheBlock, scales += kKeyBlock) {
    F sums[M][W];
    for (int m = 0; m < M; ++m) {
      for (int w = 0; w < W; ++w) sums[m][w] = Simd::set(0.0F);
    }
    const std::size_t end = smaller(b + kCacheBlock, task.head_dim);
    for (std::size_t i = b; i < end; ++i) {
      F elements[M];
      for (int m = 0; m < M; ++m) elements[m] = Simd::set(query.at[m][i]);
      for (int w = 0; w < W; ++w) {
        const std::size_t lane = w * kLanes;
        const F key = Simd::load_signed(keys + lane / kKeyBlock * block + i * kKeyBlock + lane % kKeyBlock);
        for (int m = 0; m < M; ++m) sums[m][w] = Simd::fma(elements[m], key, sums[m][w]);
      }
    }
    for (int w = 0; w < W; ++w) {
      const std::size_t lane = w * kLanes;
      const F unit = Simd::load_halves(scales + lane / kKeyBlock * scale_block + lane % kKeyBlock);
      for (int m = 0; m < M; ++m) totals[m][w] = Simd::fma(sums[m][w], unit, totals[m][w]);
    }
  }
  store_scores<M, W>(totals, task.scale, scores, stride);
}

// Where the rows of a tile are written, and what their sums still lack.
template <int M>
struct OutRows {
  float* at[M];
  float factor[M];
};

template <int M, int W>
inline void store_values(const F (&sums)[M][W], const OutRows<M>& out, std::size_t element, std::size_t n) {
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) {
      float* to = out.at[m] + element + w * kLanes;
      Simd::store(to, Simd::mul(sums[m][w], Simd::set(out.factor[m])), W == 1 ? n : kLanes);
    }
  }
}

// out[element …] = factor · Σ weight · value, for W vectors of elements; the last has n of them where W is 1.
template <int M, int W>
inline void value_tile(const AttentionTask& task, const FloatCache& cache, const float* weights,
                       std::size_t stride, std::size_t positions, std::size_t element, std::size_t n,
                       const OutRows<M>& out) {
  F sums[M][W];
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) sums[m][w] = Simd::set(0.0F);
  }
  const float* values = cache.values + element;
  for (std::size_t j = 0; j < positions; ++j) {
    F weight[M];
    for (int m = 0; m < M; ++m) weight[m] = Simd::set(weights[m * stride + j]);
    for (int w = 0; w < W; ++w) {
      const float* at = values + j * task.head_dim + w * kLanes;
      const F value = W == 1 ? Simd::load(at, n) : Simd::load(at);
      for (int m = 0; m < M; ++m) sums[m][w] = Simd::fma(weight[m], value, sums[m][w]);
    }
  }
  store_values<M, W>(sums, out, element, n);
}

// The same for int8 values; all elements of the tile lie in one block, whose scales join the weights.
template <int M, int W>
inline void value_tile(const AttentionTask& task, const Int8Cache& cache, const float* weights,
                       std::size_t stride, std::size_t positions, std::size_t element, std::size_t n,
                       const OutRows<M>& out) {
  constexpr std::size_t kPiece = 64;
  float scaled[M][kPiece];
  F sums[M][W];
  for (int m = 0; m < M; ++m) {
    for (int w = 0; w < W; ++w) sums[m][w] = Simd::set(0.0F);
  }
  const std::uint16_t* scales = cache.value_scales + element / kCacheBlock * cache.capacity;
  const std::int8_t* values = cache.values + element;
  for (std::size_t from = 0; from < positions; from += kPiece) {
    const std::size_t count = smaller(kPiece, positions - from);
    for (std::size_t j = 0; j < count; j += kLanes) {
      const std::size_t some = smaller(kLanes, count - j);
      const F unit = Simd::load_halves(scales + from + j, some);
      for (int m = 0; m < M; ++m) {
        const F weight = Simd::load(weights + m * stride + from + j, some);
        Simd::store(scaled[m] + j, Simd::mul(weight, unit));
      }
    }
    for (std::size_t j = 0; j < count; ++j) {
      F weight[M];
      for (int m = 0; m < M; ++m) weight[m] = Simd::set(scaled[m][j]);
      for (int w = 0; w < W; ++w) {
        const std::int8_t* at = values + (from + j) * task.head_dim + w * kLanes;
        const F value = W == 1 ? Simd::load_signed(at, n) : Simd::load_signed(at);
        for (int m = 0; m < M; ++m) sums[m][w] = Simd::fma(weight[m], value, sums[m][w]);
      }
    }
  }
  store_values<M, W>(sums, out, element, n);
}

// How many vectors of positions and of elements a tile of M rows takes, and between which elements it must
// not reach. Int8 needs twice the sums for scores, and a tile of values within one block.
template <typename Cache>
struct Tiles;
template <>
struct Tiles<FloatCache> {
  template <int M>
  static constexpr int kScores = kWide;
  static constexpr int kValues = kWide;
};
template <>
struct Tiles<Int8Cache> {
  template <int M>
  static constexpr int kScores = 2 * M <= kRows ? kWide : kKeyVectors;
  static constexpr int kValues = kBlockVectors;
};

template <typename Cache>
void attention(const AttentionTask& task, const Cache& cache) {
  const std::size_t stride = castline::kernels::round_up(task.first + task.positions, kKeyBlock);
  each_row_tile<kRows>(task.positions * task.heads, 0, [&]<int M>(std::size_t r) {
    constexpr int kScores = Tiles<Cache>::template kScores<M>;
    constexpr int kValues = Tiles<Cache>::kValues;
    const auto position = [&](int m) { return (r + static_cast<std::size_t>(m)) / task.heads; };
    QueryRows<M> query;
    OutRows<M> out;
    for (int m = 0; m < M; ++m) {
      const std::size_t head = (r + static_cast<std::size_t>(m)) % task.heads * task.head_dim;
      query.at[m] = task.query + position(m) * task.query_stride + head;
      out.at[m] = task.out + position(m) * task.out_stride + head;
    }
    const std::size_t seen = task.first + position(M - 1) + 1;  // what the tile's last row sees
    float* scores = task.scores + r * stride;
    std::size_t j = 0;
    for (; j + kScores * kLanes <= castline::kernels::round_up(seen, kKeyBlock); j += kScores * kLanes) {
      score_tile<M, kScores>(task, cache, query, j, scores + j, stride);
    }
    for (; j < seen; j += kKeyBlock) score_tile<M, kKeyVectors>(task, cache, query, j, scores + j, stride);
    for (int m = 0; m < M; ++m) {
      float* row = scores + m * stride;
      const std::size_t own = task.first + position(m) + 1;
      out.factor[m] = 1.0F / exponentials(row, own, maximum(row, own));
      for (std::size_t k = own; k < seen; ++k) row[k] = 0.0F;
    }
    std::size_t i = 0;
    for (; i + kValues * kLanes <= task.head_dim; i += kValues * kLanes) {
      value_tile<M, kValues>(task, cache, scores, stride, seen, i, kLanes, out);
    }
    for (; i < task.head_dim; i += kLanes) {
      value_tile<M, 1>(task, cache, scores, stride, seen, i, smaller(kLanes, task.head_dim - i), out);
    }
  });
}
