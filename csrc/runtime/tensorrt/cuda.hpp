// The little of CUDA's driver that running an engine takes, from libcuda.so.1 as it is loaded here: no CUDA
// toolkit is needed, neither to build nor to run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.hpp"

struct CUstream_st;  // CUDA's own name, as TensorRT's headers know it

namespace castline::cuda {

using StreamHandle = CUstream_st*;
/// An address in the GPU's memory.
using Address = std::uint64_t;

struct Driver;

/// The first GPU that the process may see (CUDA_VISIBLE_DEVICES chooses), with its primary context.
class Device {
 public:
  /// Throws a device error that says what is missing: the driver's library, a driver that works, or a GPU.
  Device();
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& name() const { return name_; }
  /// Such as "8.9".
  const std::string& compute_capability() const { return compute_capability_; }
  /// The newest CUDA that the driver supports, such as "13.0".
  const std::string& driver_version() const { return driver_version_; }
  const Driver& driver() const { return *driver_; }

  /// Makes the device this thread's current one for as long as it lives; everything below needs that, and
  /// says so where the driver refused.
  class Use {
   public:
    explicit Use(const Device& device) noexcept;
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    const Device& device_;
    bool pushed_;
  };

 private:
  std::unique_ptr<const Driver> driver_;
  int ordinal_ = 0;
  void* context_ = nullptr;
  std::string name_;
  std::string compute_capability_;
  std::string driver_version_;
};

/// Work for the GPU, done in order.
class Stream {
 public:
  explicit Stream(const Device& device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  StreamHandle handle() const { return handle_; }
  /// Waits until everything is done. Throws a device error where any of it failed.
  void wait() const;

 private:
  const Device& device_;
  StreamHandle handle_ = nullptr;
};

/// Memory of the GPU; what is in it at first is left from others.
class DeviceMemory {
 public:
  /// Throws a device error where the GPU has not enough.
  DeviceMemory(const Device& device, std::size_t size);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  Address address() const { return address_; }
  std::size_t size() const { return size_; }
  // In the stream's order, so that the host's memory must stay until that is done.
  void clear(const Stream& stream) const;
  void write(const Stream& stream, const void* from, std::size_t size) const;
  void read(const Stream& stream, void* to, std::size_t size, std::size_t offset = 0) const;

 private:
  const Device& device_;
  std::size_t size_ = 0;
  Address address_ = 0;
};

/// Memory of the host that the GPU copies from and to without a detour.
class HostMemory {
 public:
  HostMemory(const Device& device, std::size_t size);
  ~HostMemory();
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  template <typename T>
  T* as(std::size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(data_) + offset);
  }

 private:
  const Device& device_;
  void* data_ = nullptr;
};

/// What a stream was given between begin and end, to be run again at the cost of one launch.
class Graph {
 public:
  explicit Graph(const Device& device) : device_(device) {}
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Records what `work()` gives the stream, without running it. False where the driver, or `work` by
  /// throwing a castline::Error, says that it cannot be recorded; the stream is then as before.
  template <typename Work>
  bool record(const Stream& stream, const Work& work);

  bool recorded() const { return executable_ != nullptr; }
  void launch(const Stream& stream) const;

 private:
  bool begin(const Stream& stream) const;
  bool end(const Stream& stream);
  void drop(const Stream& stream) const;

  const Device& device_;
  void* executable_ = nullptr;
};

template <typename Work>
bool Graph::record(const Stream& stream, const Work& work) {
  if (!begin(stream)) return false;
  try {
    work();
  } catch (const Error&) {
    drop(stream);
    return false;
  } catch (...) {
    drop(stream);
    throw;
  }
  return end(stream);
}

}  // namespace castline::cuda
