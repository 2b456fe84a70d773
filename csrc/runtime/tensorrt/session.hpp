// An engine of compile/graph.py at work on the GPU: its two phases, its key/value cache, one step at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/backend.hpp"
#include "runtime/tensorrt/cuda.hpp"
#include "runtime/tensorrt/engine_api.hpp"

namespace castline::tensorrt {

/// What an engine must be to run a package's model.
struct Expected {
  std::size_t vocab_size = 0;
  std::size_t layers = 0;
  std::size_t max_context = 0;
};

/// Holds the keys and values of one sequence. Its GPU is made current for the length of every call.
class Session {
 public:
  /// Gets memory for cache, inputs and logits. Throws a device error where the GPU has not enough, a data
  /// error for an engine that is not what compile/graph.py describes. `device` must outlive this.
  Session(const cuda::Device& device, std::unique_ptr<LoadedEngine> engine, const Expected& expected);
  ~Session();

  /// Tokens that a step takes, and logits that it gives, at most.
  std::size_t max_tokens() const;
  std::size_t max_logits() const;

  /// Computes `tokens` at the positions from `start` on, seeing what earlier steps left in the cache before
  /// `start`, and passes the logits after the last `logits` of them to `sink`, by index within `tokens`.
  void step(std::span<const std::uint32_t> tokens, std::size_t start, std::size_t logits,
            const LogitsSink& sink);

  /// Whether decoding replays a CUDA graph by now; not where it could not be recorded.
  bool replays_decoding() const;

 private:
  class Phase;

  Session(const cuda::Device& device, std::unique_ptr<LoadedEngine> engine);

  const cuda::Device& device_;
  std::unique_ptr<LoadedEngine> engine_;
  std::unique_ptr<cuda::Stream> stream_;
  std::unique_ptr<cuda::DeviceMemory> cache_;
  std::unique_ptr<Phase> prefill_;
  std::unique_ptr<Phase> decode_;
};

}  // namespace castline::tensorrt
