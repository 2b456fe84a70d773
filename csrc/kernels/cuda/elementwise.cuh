// RoPE and SwiGLU on CUDA: a row of blocks per token, N elements or pairs per thread. See
// kernels/training/kernels.hpp.
#pragma once

#include "kernels/cuda/device.cuh"

namespace castline::kernels::cuda {

// Which N neighbours of a row of the grid a thread works on.
inline __device__ std::int64_t piece_of_row() {
  return static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
}

// Where a token's heads begin. Offsets within one token fit 32 bits, whose division is much faster.
struct HeadIndex {
  unsigned outer, inner, at;

  __device__ HeadIndex(unsigned element, const Heads& heads, unsigned width)
      : outer(element / width / static_cast<unsigned>(heads.inner)),
        inner(element / width % static_cast<unsigned>(heads.inner)),
        at(element % width) {}

  __device__ std::int64_t in(const HeadStrides& strides) const {
    return static_cast<std::int64_t>(blockIdx.x) * strides.token + outer * strides.outer +
           inner * strides.inner + at;
  }
};

template <class T, int N>
__global__ void rope_pairs(const T* x, HeadStrides x_strides, Heads heads, const float* cos, const float* sin,
                           float direction, T* y, HeadStrides y_strides) {
  const std::int64_t half = heads.size / 2;
  const std::int64_t pair = piece_of_row() * N;
  if (pair >= heads.outer * heads.inner * half) return;
  const HeadIndex index(static_cast<unsigned>(pair), heads, static_cast<unsigned>(half));
  const std::int64_t angle = static_cast<std::int64_t>(blockIdx.x) * half + index.at;
  const Floats<N> c = load<N>(cos + angle);
  const Floats<N> s = load<N>(sin + angle);
  const T* from = x + index.in(x_strides);
  Floats<N> first = load<N>(from);
  Floats<N> second = load<N>(from + half);
  for (int k = 0; k < N; ++k) {
    const float a = first.at[k];
    const float b = second.at[k];
    const float turn = s.at[k] * direction;
    first.at[k] = a * c.at[k] - b * turn;
    second.at[k] = b * c.at[k] + a * turn;
  }
  T* to = y + index.in(y_strides);
  store(first, to);
  store(second, to + half);
}

template <class T, int N>
__global__ void copy_elements(const T* x, HeadStrides x_strides, Heads heads, T* y, HeadStrides y_strides) {
  const std::int64_t element = piece_of_row() * N;
  if (element >= heads.outer * heads.inner * heads.size) return;
  const HeadIndex index(static_cast<unsigned>(element), heads, static_cast<unsigned>(heads.size));
  *reinterpret_cast<Pack<T, N>*>(y + index.in(y_strides)) =
      *reinterpret_cast<const Pack<T, N>*>(x + index.in(x_strides));
}

inline __device__ float sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }

template <class T, int N>
__global__ void swiglu_elements(const T* gate, std::int64_t gate_stride, const T* up, std::int64_t up_stride,
                                T* y, std::int64_t size) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t column = piece_of_row() * N;
  if (column >= size) return;
  Floats<N> v = load<N>(gate + row * gate_stride + column);
  const Floats<N> u = load<N>(up + row * up_stride + column);
  for (int k = 0; k < N; ++k) v.at[k] = v.at[k] * sigmoid(v.at[k]) * u.at[k];
  store(v, y + row * size + column);
}

template <class T, int N>
__global__ void swiglu_gradients(const T* g, const T* gate, std::int64_t gate_stride, const T* up,
                                 std::int64_t up_stride, T* dgate, T* dup, T* y, std::int64_t size) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t column = piece_of_row() * N;
  if (column >= size) return;
  const std::int64_t at = row * size + column;
  const Floats<N> v = load<N>(gate + row * gate_stride + column);
  const Floats<N> u = load<N>(up + row * up_stride + column);
  const Floats<N> gradient = load<N>(g + at);
  Floats<N> of_gate, of_up, product;
  for (int k = 0; k < N; ++k) {
    const float s = sigmoid(v.at[k]);
    of_gate.at[k] = gradient.at[k] * u.at[k] * (s * (1.0F + v.at[k] * (1.0F - s)));
    of_up.at[k] = gradient.at[k] * (v.at[k] * s);
    product.at[k] = v.at[k] * s * u.at[k];
  }
  store(of_gate, dgate + at);
  store(of_up, dup + at);
  if (y != nullptr) store(product, y + at);
}

// A launch with a thread for each of the `pieces` of every row.
template <class Kernel, class... Arguments>
void launch_pieces(const char* op, Kernel kernel, std::int64_t rows, std::int64_t pieces,
                   Arguments... arguments) {
  const int threads = threads_for(pieces);
  launch(op, kernel, {rows, blocks_for(pieces, threads)}, threads, arguments...);
}

// Throws where a token's elements do not fit the 32 bits of HeadIndex.
inline void require_token(const char* op, const Heads& heads) {
  const std::int64_t elements = heads.outer * heads.inner * heads.size;
  if (elements > std::numeric_limits<int>::max()) {
    throw_usage(std::string("[") + op + "] a token must have less than 2^31 elements, but got " +
                std::to_string(elements));
  }
}

template <class T>
void rope(const T* x, const HeadStrides& x_strides, const Heads& heads, const float* cos, const float* sin,
          float direction, T* y, const HeadStrides& y_strides, std::int64_t rows) {
  require_token("rope", heads);
  const std::int64_t half = heads.size / 2;
  const std::int64_t pairs = heads.outer * heads.inner * half;
  const bool wide = can_be_wide<T>({half, x_strides.token, x_strides.outer, x_strides.inner, y_strides.token,
                                    y_strides.outer, y_strides.inner},
                                   {x, cos, sin, y});
  launch_pieces("rope", wide ? rope_pairs<T, kWide<T>> : rope_pairs<T, 1>, rows,
                wide ? pairs / kWide<T> : pairs, x, x_strides, heads, cos, sin, direction, y, y_strides);
}

template <class T>
void copy_heads(const T* x, const HeadStrides& x_strides, const Heads& heads, T* y,
                const HeadStrides& y_strides, std::int64_t rows) {
  require_token("copy_heads", heads);
  const std::int64_t elements = heads.outer * heads.inner * heads.size;
  const bool wide = can_be_wide<T>({heads.size, x_strides.token, x_strides.outer, x_strides.inner,
                                    y_strides.token, y_strides.outer, y_strides.inner},
                                   {x, y});
  launch_pieces("copy_heads", wide ? copy_elements<T, kWide<T>> : copy_elements<T, 1>, rows,
                wide ? elements / kWide<T> : elements, x, x_strides, heads, y, y_strides);
}

template <class T>
void swiglu(const T* gate, std::int64_t gate_stride, const T* up, std::int64_t up_stride, T* y,
            std::int64_t rows, std::int64_t size) {
  const bool wide = can_be_wide<T>({size, gate_stride, up_stride}, {gate, up, y});
  launch_pieces("swiglu", wide ? swiglu_elements<T, kWide<T>> : swiglu_elements<T, 1>, rows,
                wide ? size / kWide<T> : size, gate, gate_stride, up, up_stride, y, size);
}

template <class T>
void swiglu_backward(const T* g, const T* gate, std::int64_t gate_stride, const T* up, std::int64_t up_stride,
                     T* dgate, T* dup, T* y, std::int64_t rows, std::int64_t size) {
  const bool wide = can_be_wide<T>({size, gate_stride, up_stride}, {g, gate, up, dgate, dup, y});
  launch_pieces("swiglu_backward", wide ? swiglu_gradients<T, kWide<T>> : swiglu_gradients<T, 1>, rows,
                wide ? size / kWide<T> : size, g, gate, gate_stride, up, up_stride, dgate, dup, y, size);
}

}  // namespace castline::kernels::cuda
