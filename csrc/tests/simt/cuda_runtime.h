// A stand-in for the part of the CUDA runtime that csrc/kernels/cuda uses. It runs a grid on the CPU, so that
// the kernels' own sources can be tested where no GPU is: every thread of a block is a fiber, and each round
// takes all of them from one barrier to the next. It tests logic (indices, reductions, tails, barriers that
// are missing or not met by all), not what the hardware does.
#pragma once

#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static  // one block runs at a time

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace castline::simt {

/// In which order the threads of a block take their turns: results must not depend on it.
inline bool last_thread_first = false;

enum class Stop { barrier, shuffle, end };

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(256 << 10);
  Stop stop = Stop::end;
  std::uint64_t value = 0;  // what a shuffle hands to others
};

inline std::vector<std::unique_ptr<Fiber>> fibers;
inline Fiber* running = nullptr;
inline ucontext_t scheduler;
inline std::function<void()> kernel;

inline void wait(Stop stop) {
  running->stop = stop;
  swapcontext(&running->context, &scheduler);
}

inline void enter() {
  kernel();
  running->stop = Stop::end;
}

inline void run_block(unsigned threads) {
  while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = *fibers[i];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, enter, 0);
  }
  do {
    for (unsigned i = 0; i < threads; ++i) {
      threadIdx.x = last_thread_first ? threads - 1 - i : i;
      running = fibers[threadIdx.x].get();
      swapcontext(&scheduler, &running->context);
    }
    for (unsigned i = 1; i < threads; ++i) {
      if (fibers[i]->stop == fibers[0]->stop) continue;
      std::fprintf(stderr, "threads 0 and %u of block %u wait at different barriers\n", i, blockIdx.x);
      std::abort();
    }
  } while (fibers[0]->stop != Stop::end);
}

}  // namespace castline::simt

inline void __syncthreads() { castline::simt::wait(castline::simt::Stop::barrier); }

template <class T>
T __shfl_down_sync(unsigned, T value, int step) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  using namespace castline::simt;
  std::memcpy(&running->value, &value, sizeof value);
  const unsigned me = threadIdx.x;
  wait(Stop::shuffle);
  if (me % 32 + static_cast<unsigned>(step) < 32) {
    std::memcpy(&value, &fibers[me + static_cast<unsigned>(step)]->value, sizeof value);
  }
  wait(Stop::shuffle);  // nobody writes anew before all have read
  return value;
}

inline float __uint_as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }

enum cudaError_t { cudaSuccess };
using cudaStream_t = struct Stream*;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  castline::simt::kernel = [&] { kernel(static_cast<Parameters>(arguments)...); };
  gridDim = config->gridDim;
  blockDim = config->blockDim;
  for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) castline::simt::run_block(blockDim.x);
  }
  return cudaSuccess;
}
