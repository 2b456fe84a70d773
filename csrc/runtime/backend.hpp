// What every backend offers the engine: a sequence of tokens that grows, and the logits after them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace castline {

/// Takes the logits after the token at `index` of the appended tokens; [vocab_size], valid during the call.
using LogitsSink = std::function<void(std::size_t index, std::span<const float> logits)>;

/// One growing sequence of tokens with its keys and values.
class Sequence {
 public:
  virtual ~Sequence() = default;
  virtual std::size_t length() const = 0;
  /// Appends tokens, at least one, and calls `sink` in order for each whose index is `logits_from` or more.
  /// The logits do not depend on how the tokens before were cut into calls: to the bit on the cpu, within the
  /// rounding of its kernels for other lengths on a GPU.
  virtual void append(std::span<const std::uint32_t> tokens, std::size_t logits_from,
                      const LogitsSink& sink) = 0;
};

/// How a backend runs a model.
struct BackendInfo {
  std::string name;       ///< cpu, tensorrt
  std::string weights;    ///< f32, int8, …: what most weights of the layers are stored in
  std::string processor;  ///< the instruction set, or the device
  int threads = 0;
  std::size_t weight_bytes = 0;
  std::string engine = {};                          ///< tensorrt: the engine's file in the package
  std::string library = {};                         ///< tensorrt: what runs it, and its version
  std::string cache = {};                           ///< cpu: f32 or int8, how keys and values are stored
  std::map<std::string, std::size_t> tensors = {};  ///< cpu: how many matrices have each format
};

/// A model loaded onto a device. One sequence runs at a time.
class Backend {
 public:
  virtual ~Backend() = default;
  /// A sequence with room for `capacity` tokens. The backend must outlive it.
  virtual std::unique_ptr<Sequence> start(std::size_t capacity) = 0;
  virtual BackendInfo info() const = 0;
};

}  // namespace castline
