// What the backend asks of TensorRT, without its headers: one file speaks to the library (library.cpp), and
// where NVIDIA's headers are missing, another takes its place (library_left_out.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensorrt/cuda.hpp"

namespace castline::tensorrt {

enum class ElementType { f32, f16, bf16, i64, other };

/// Bytes of an element; 0 for `other`.
std::size_t size_of(ElementType type);

/// An input or output of an engine, in the GPU's memory.
struct Tensor {
  std::string name;
  bool is_input = false;
  ElementType type = ElementType::other;
  std::vector<std::int64_t> shape;  ///< -1 where it depends on the run
};

/// An engine made ready to run within one of its optimisation profiles. Everything throws a device error with
/// TensorRT's own words where TensorRT refuses.
class Execution {
 public:
  virtual ~Execution() = default;
  virtual void set_shape(const std::string& input, std::span<const std::int64_t> shape) = 0;
  virtual void set_address(const std::string& tensor, cuda::Address address) = 0;
  /// Gives one run over the addresses and shapes set to the stream.
  virtual void enqueue(cuda::StreamHandle stream) = 0;
};

/// An engine file, loaded onto the GPU that is current.
class LoadedEngine {
 public:
  virtual ~LoadedEngine() = default;
  virtual std::vector<Tensor> tensors() const = 0;
  virtual int profiles() const = 0;
  /// The largest shape that an input may have in a profile.
  virtual std::vector<std::int64_t> largest(const std::string& input, int profile) const = 0;
  virtual std::unique_ptr<Execution> execution(int profile, cuda::StreamHandle stream) = 0;
};

/// TensorRT itself.
class Library {
 public:
  virtual ~Library() = default;
  /// What it calls itself and its version, such as "TensorRT for RTX 1.7.1".
  virtual std::string name() const = 0;
  /// The file it was loaded from.
  virtual std::string path() const = 0;
  /// Throws a device error with the library's own words where it refuses the engine.
  virtual std::unique_ptr<LoadedEngine> load(std::span<const std::byte> engine) = 0;
};

/// Why this build is without the TensorRT backend, and what to do; empty where it has it.
std::string left_out();

/// Loads the library that runs the engines of `module`, the Python package that builds them: tensorrt_rtx or
/// tensorrt. It is looked for in the entries of the environment variable CASTLINE_TENSORRT_PATH, then in
/// those of `search` (folders or files, separated by ':'), then where the system's loader looks. Throws a
/// device error where it is not to be had here, is of a version that this build does not speak to, or was
/// left out.
std::unique_ptr<Library> open_library(std::string_view module, const std::string& search);

}  // namespace castline::tensorrt
