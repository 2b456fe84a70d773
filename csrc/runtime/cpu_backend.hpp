// The decoder on the processor: weights mapped from the package, keys and values cached as it says.
#pragma once

#include <memory>

#include "base/mapped_file.hpp"
#include "base/parallel.hpp"
#include "kernels/decoder_kernels.hpp"
#include "runtime/backend.hpp"
#include "runtime/cpu_weights.hpp"
#include "runtime/package.hpp"

namespace castline {

/// The file of the package that this backend runs.
inline constexpr const char* kCpuWeights = "cpu/weights.safetensors";

class CpuBackend final : public Backend {
 public:
  /// Maps cpu/weights.safetensors of the package, which must outlive this. `threads` as in ThreadPool. Throws
  /// a data error for weights that do not fit the model.
  CpuBackend(const Package& package, int threads);

  std::unique_ptr<Sequence> start(std::size_t capacity) override;
  BackendInfo info() const override;

 private:
  friend class CpuSequence;

  const ModelConfig& config_;
  CacheFormat cache_format_;
  MappedFile file_;
  DecoderWeights weights_;
  kernels::CpuLevel level_;
  const kernels::DecoderKernels& kernels_;
  ThreadPool pool_;
};

}  // namespace castline
