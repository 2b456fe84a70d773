// What the CUDA kernels share: storage types, wide loads, sums over a block, launches.
//
// Only plain C++ and the CUDA runtime's interface: csrc/tests/simt has a stand-in for that interface which
// runs a grid on the CPU, so the kernels are tested where no GPU is.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include "base/error.hpp"
#include "kernels/cuda/kernels.hpp"

namespace castline::kernels::cuda {

constexpr int kWarp = 32;
constexpr int kThreads = 256;  // of a block at most

/// How many T a thread loads and stores at once where addresses allow it: 16 bytes.
template <class T>
constexpr int kWide = 16 / static_cast<int>(sizeof(T));

/// Whether `sizes` are multiples of kWide<T> and `pointers` (null ones too) of its bytes.
template <class T>
bool can_be_wide(std::initializer_list<std::int64_t> sizes, std::initializer_list<const void*> pointers) {
  return std::all_of(sizes.begin(), sizes.end(), [](auto size) { return size % kWide<T> == 0; }) &&
         std::all_of(pointers.begin(), pointers.end(),
                     [](auto* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; });
}

/// N neighbours as they are stored.
template <class T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T at[N];
};

/// N neighbours to compute with.
template <int N>
struct Floats {
  float at[N];
};

inline __device__ float widened(float x) { return x; }
inline __device__ float widened(BFloat16 x) { return __uint_as_float(std::uint32_t{x.bits} << 16); }
inline __device__ void narrow(float x, float& y) { y = x; }
inline __device__ void narrow(float x, BFloat16& y) { y.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }

template <int N, class T>
__device__ Floats<N> load(const T* p) {
  const auto pack = *reinterpret_cast<const Pack<T, N>*>(p);
  Floats<N> x;
  for (int i = 0; i < N; ++i) x.at[i] = widened(pack.at[i]);
  return x;
}

template <int N, class T>
__device__ void store(const Floats<N>& x, T* p) {
  Pack<T, N> pack;
  for (int i = 0; i < N; ++i) narrow(x.at[i], pack.at[i]);
  *reinterpret_cast<Pack<T, N>*>(p) = pack;
}

/// Rounds to T's precision, as storing and loading would.
template <class T>
__device__ float rounded(float x) {
  T stored;
  narrow(x, stored);
  return widened(stored);
}

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Larger {
  __device__ float operator()(float a, float b) const { return a > b ? a : b; }
};

/// The threads' values combined in a fixed tree; every thread of the block gets the result.
template <class T, class Combine>
__device__ T over_block(T value, Combine combine) {
  __shared__ T warps[kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = combine(value, __shfl_down_sync(0xFFFFFFFF, value, step));
  }
  __syncthreads();  // the warps' values of an earlier call have been read
  if (lane == 0) warps[warp] = value;
  __syncthreads();
  T result = warps[0];
  for (int i = 1; i < static_cast<int>(blockDim.x) / kWarp; ++i) result = combine(result, warps[i]);
  return result;
}

cudaStream_t current_stream();

/// Blocks of a launch.
struct Grid {
  std::int64_t x;
  std::int64_t y = 1;
};

/// Enough threads for `count` pieces of work, a multiple of a warp.
inline int threads_for(std::int64_t count) {
  return static_cast<int>(std::clamp<std::int64_t>((count + kWarp - 1) / kWarp * kWarp, kWarp, kThreads));
}

inline std::int64_t blocks_for(std::int64_t count, int threads) { return (count + threads - 1) / threads; }

/// Runs the kernel on the current stream; an empty grid is no launch. Throws what CUDA says of the launch.
template <class... Parameters, class... Arguments>
void launch(const char* op, void (*kernel)(Parameters...), Grid grid, int threads, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0) return;
  if (grid.x > std::numeric_limits<int>::max() || grid.y > 65535) {
    throw_usage(std::string("[") + op + "] a CUDA grid has at most 2147483647 x 65535 blocks, but got " +
                std::to_string(grid.x) + " x " + std::to_string(grid.y));
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = current_stream();
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (error != cudaSuccess) {
    throw_device(std::string("[") + op + "] expected a CUDA launch to succeed, but got " +
                 cudaGetErrorString(error));
  }
}

}  // namespace castline::kernels::cuda
