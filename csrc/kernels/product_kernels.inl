// Products with weights in rows: float32, float16, bfloat16 and int8, over the vector operations of one
// level. Included by decoder_kernels.inl.
//
// Register tile: Simd::kRows rows of x by four channels of w, each sum one vector along the shared dimension,
// folded to a number at the end of a block. Nothing is packed, so weights are read where they are mapped, and
// one row costs what a matrix-vector product costs.

// How the elements of a row of float weights become floats.
struct Singles {
  using Element = float;
  static F load(const float* p) { return Simd::load(p); }
  static F load(const float* p, std::size_t n) { return Simd::load(p, n); }
};
struct Halves {
  using Element = std::uint16_t;
  static F load(const std::uint16_t* p) { return Simd::load_halves(p); }
  static F load(const std::uint16_t* p, std::size_t n) { return Simd::load_halves(p, n); }
};
struct BFloats {
  using Element = std::uint16_t;
  static F load(const std::uint16_t* p) { return Simd::load_bfloats(p); }
  static F load(const std::uint16_t* p, std::size_t n) { return Simd::load_bfloats(p, n); }
};

// One block of the dimension: y (+)= x · wᵀ for M rows and N channels, N being 4 or 1.
template <typename W, int M, int N>
inline void tile_float(const float* x, std::size_t x_stride, const typename W::Element* w,
                       std::size_t w_stride, std::size_t n, bool first, float* y, std::size_t y_stride) {
  F sums[M][N];
  for (int m = 0; m < M; ++m) {
    for (int c = 0; c < N; ++c) sums[m][c] = Simd::set(0.0F);
  }
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    F rows[M];
    for (int m = 0; m < M; ++m) rows[m] = Simd::load(x + m * x_stride + i);
    for (int c = 0; c < N; ++c) {
      const F weight = W::load(w + c * w_stride + i);
      for (int m = 0; m < M; ++m) sums[m][c] = Simd::fma(rows[m], weight, sums[m][c]);
    }
  }
  if (i < n) {
    for (int c = 0; c < N; ++c) {
      const F weight = W::load(w + c * w_stride + i, n - i);
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
template <typename W>
void row_float(const float* x, const typename W::Element* w, std::size_t channels, std::size_t size,
               float* y) {
  for (std::size_t c = 0; c < channels; ++c, w += size) {
    float total = 0.0F;
    for (std::size_t b = 0; b < size; b += kDotBlock) {
      const std::size_t end = smaller(b + kDotBlock, size);
      F sums = Simd::set(0.0F);
      std::size_t i = b;
      for (; i + kLanes <= end; i += kLanes) {
        __builtin_prefetch(w + i + kAhead / sizeof *w);
        sums = Simd::fma(Simd::load(x + i), W::load(w + i), sums);
      }
      if (i < end) sums = Simd::fma(Simd::load(x + i, end - i), W::load(w + i, end - i), sums);
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

template <typename W>
void matmul_float(const float* x, std::size_t rows, const typename W::Element* w, std::size_t channels,
                  std::size_t size, float* y, std::size_t y_stride) {
  if (rows == 1) {
    row_float<W>(x, w, channels, size, y);
    return;
  }
  each_panel(rows, channels, size, [&](std::size_t i, std::size_t n, std::size_t begin, std::size_t end) {
    each_row_tile<kRows>(rows, 0, [&]<int M>(std::size_t r) {
      const float* xr = x + r * size + i;
      float* yr = y + r * y_stride;
      std::size_t c = begin;
      for (; c + kChannels <= end; c += kChannels) {
        tile_float<W, M, kChannels>(xr, size, w + c * size + i, size, n, i == 0, yr + c, y_stride);
      }
      for (; c < end; ++c) tile_float<W, M, 1>(xr, size, w + c * size + i, size, n, i == 0, yr + c, y_stride);
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
