#include "base/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace castline {
namespace {

// A decode step runs hundreds of short loops: spinning a little before sleeping keeps them cheap.
constexpr int kSpins = 4000;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<std::uint64_t> generation{0};
  std::atomic<bool> stop{false};
  // A worker counts itself in before it looks whether the job is still open; the caller closes the job
  // before it looks whether anyone is in. So the caller never waits for a worker that came too late.
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};

  const std::function<void(std::size_t, std::size_t)>* body = nullptr;
  std::size_t count = 0;
  std::size_t chunk = 1;
  std::atomic<std::size_t> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void drain() {
    for (;;) {
      const std::size_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= count) return;
      try {
        (*body)(begin, std::min(begin + chunk, count));
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
  }

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && generation.load(std::memory_order_acquire) == seen; ++i) relax();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
      }
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      inside.fetch_add(1, std::memory_order_seq_cst);
      if (open.load(std::memory_order_seq_cst)) drain();
      inside.fetch_sub(1, std::memory_order_release);
      inside.notify_one();
    }
  }

  void announce() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads <= 0) threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  for (int i = 1; i < threads; ++i) state_->workers.emplace_back([s = state_.get()] { s->work(); });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  state_->announce();
  for (std::thread& t : state_->workers) t.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(std::size_t count, std::size_t grain,
                     const std::function<void(std::size_t, std::size_t)>& body) {
  if (count == 0) return;
  grain = std::max<std::size_t>(grain, 1);
  const std::size_t parts = static_cast<std::size_t>(threads()) * 4;
  const std::size_t even = (count + parts - 1) / parts;
  const std::size_t chunk = std::max(grain, (even + grain - 1) / grain * grain);
  if (state_->workers.empty() || chunk >= count) {
    body(0, count);
    return;
  }
  State& s = *state_;
  s.body = &body;
  s.count = count;
  s.chunk = chunk;
  s.error = nullptr;
  s.next.store(0, std::memory_order_relaxed);
  s.open.store(true, std::memory_order_release);
  s.announce();
  s.drain();
  s.open.store(false, std::memory_order_seq_cst);
  int inside = 0;
  for (int spins = 0; (inside = s.inside.load(std::memory_order_seq_cst)) != 0; ++spins) {
    if (spins < kSpins) {
      relax();
    } else {
      s.inside.wait(inside, std::memory_order_seq_cst);
    }
  }
  if (s.error) std::rethrow_exception(s.error);
}

}  // namespace castline
