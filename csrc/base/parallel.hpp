// A fixed pool of threads for data-parallel loops. Work is split by index, never by timing, so a
// result does not depend on the number of threads as long as each index writes its own output.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace castline {

class ThreadPool {
 public:
  /// `threads` counts the calling thread; 0 means one per available processor.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Calls body(begin, end) over disjoint ranges that cover [0, count), each at least `grain` long
  /// but for the last. Returns when all are done; the first exception is thrown again here.
  void run(std::size_t count, std::size_t grain, const std::function<void(std::size_t, std::size_t)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace castline
