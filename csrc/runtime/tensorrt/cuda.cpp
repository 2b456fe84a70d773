#include "runtime/tensorrt/cuda.hpp"

#include "base/error.hpp"
#include "runtime/tensorrt/shared_library.hpp"

namespace castline::cuda {

// Declared here as NVIDIA documents the driver's interface; its ABI has been stable since CUDA 4 (the names
// with _v2), CUDA 10 (capture) and CUDA 11.4 (instantiating with flags). Handles are opaque pointers.
struct Driver {
  using Result = int;

  explicit Driver(const SharedLibrary& library) {
    library.resolve(init, "cuInit");
    library.resolve(error_text, "cuGetErrorString");
    library.resolve(version, "cuDriverGetVersion");
    library.resolve(device_count, "cuDeviceGetCount");
    library.resolve(device_get, "cuDeviceGet");
    library.resolve(device_name, "cuDeviceGetName");
    library.resolve(device_attribute, "cuDeviceGetAttribute");
    library.resolve(context_retain, "cuDevicePrimaryCtxRetain");
    library.resolve(context_release, "cuDevicePrimaryCtxRelease_v2");
    library.resolve(context_push, "cuCtxPushCurrent_v2");
    library.resolve(context_pop, "cuCtxPopCurrent_v2");
    library.resolve(allocate, "cuMemAlloc_v2");
    library.resolve(free, "cuMemFree_v2");
    library.resolve(set_bytes, "cuMemsetD8Async");
    library.resolve(host_allocate, "cuMemAllocHost_v2");
    library.resolve(host_free, "cuMemFreeHost");
    library.resolve(to_device, "cuMemcpyHtoDAsync_v2");
    library.resolve(to_host, "cuMemcpyDtoHAsync_v2");
    library.resolve(stream_create, "cuStreamCreate");
    library.resolve(stream_destroy, "cuStreamDestroy_v2");
    library.resolve(stream_wait, "cuStreamSynchronize");
    library.resolve(capture_begin, "cuStreamBeginCapture_v2");
    library.resolve(capture_end, "cuStreamEndCapture");
    library.resolve(graph_instantiate, "cuGraphInstantiateWithFlags");
    library.resolve(graph_destroy, "cuGraphDestroy");
    library.resolve(graph_launch, "cuGraphLaunch");
    library.resolve(executable_destroy, "cuGraphExecDestroy");
  }

  std::string text(Result result) const {
    const char* found = nullptr;
    const bool known = error_text(result, &found) == 0 && found != nullptr;
    return "CUDA error " + std::to_string(result) + (known ? std::string(", ") + found : "");
  }
  void check(Result result, const std::string& what) const {
    if (result != 0) throw_device("[cuda] expected to " + what + ", but got " + text(result));
  }

  Result (*init)(unsigned flags);
  Result (*error_text)(Result, const char**);
  Result (*version)(int*);
  Result (*device_count)(int*);
  Result (*device_get)(int* device, int ordinal);
  Result (*device_name)(char*, int length, int device);
  Result (*device_attribute)(int*, int attribute, int device);
  Result (*context_retain)(void** context, int device);
  Result (*context_release)(int device);
  Result (*context_push)(void* context);
  Result (*context_pop)(void** context);
  Result (*allocate)(Address*, std::size_t);
  Result (*free)(Address);
  Result (*set_bytes)(Address, unsigned char, std::size_t, StreamHandle);
  Result (*host_allocate)(void**, std::size_t);
  Result (*host_free)(void*);
  Result (*to_device)(Address, const void*, std::size_t, StreamHandle);
  Result (*to_host)(void*, Address, std::size_t, StreamHandle);
  Result (*stream_create)(StreamHandle*, unsigned flags);
  Result (*stream_destroy)(StreamHandle);
  Result (*stream_wait)(StreamHandle);
  Result (*capture_begin)(StreamHandle, int mode);
  Result (*capture_end)(StreamHandle, void** graph);
  Result (*graph_instantiate)(void** executable, void* graph, unsigned long long flags);
  Result (*graph_destroy)(void* graph);
  Result (*graph_launch)(void* executable, StreamHandle);
  Result (*executable_destroy)(void* executable);
};

namespace {

// Values of the driver's enumerations.
constexpr int kNoDevice = 100;                   // CUDA_ERROR_NO_DEVICE
constexpr int kCapabilityMajor = 75;             // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
constexpr int kCapabilityMinor = 76;             // …_MINOR
constexpr unsigned kApartFromDefaultStream = 1;  // CU_STREAM_NON_BLOCKING
constexpr int kOtherThreadsGoOn = 1;             // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

constexpr const char* kNoGpu =
    "the cpu backend runs everywhere; engines need an NVIDIA GPU that this process may see "
    "(nvidia-smi, CUDA_VISIBLE_DEVICES)";

std::string dotted(int major, int minor) { return std::to_string(major) + "." + std::to_string(minor); }

}  // namespace

Device::Device()
    : driver_(std::make_unique<Driver>(SharedLibrary(
          "libcuda.so.1", "", "it comes with NVIDIA's driver: install that, or use the cpu backend"))) {
  const Driver& cuda = *driver_;
  int count = 0;
  int result = cuda.init(0);
  if (result == 0) result = cuda.device_count(&count);
  if (result != 0 && result != kNoDevice) {
    throw_device("[cuda] expected an NVIDIA driver that works, but got " + cuda.text(result) + "; " + kNoGpu);
  }
  if (count == 0) throw_device(std::string("[cuda] expected a GPU, but found none; ") + kNoGpu);

  int device = 0;
  cuda.check(cuda.device_get(&device, 0), "open the first GPU");
  char name[256] = {};
  cuda.check(cuda.device_name(name, sizeof name, device), "name the GPU");
  name_ = name;
  int major = 0;
  int minor = 0;
  cuda.check(cuda.device_attribute(&major, kCapabilityMajor, device), "ask for the compute capability");
  cuda.check(cuda.device_attribute(&minor, kCapabilityMinor, device), "ask for the compute capability");
  compute_capability_ = dotted(major, minor);
  int version = 0;
  cuda.check(cuda.version(&version), "ask for the driver's version");
  driver_version_ = dotted(version / 1000, version % 1000 / 10);
  // Last, for the destructor gives it back.
  cuda.check(cuda.context_retain(&context_, device), "use " + name_);
  ordinal_ = device;
}

Device::~Device() { driver_->context_release(ordinal_); }

Device::Use::Use(const Device& device) noexcept
    : device_(device), pushed_(device.driver().context_push(device.context_) == 0) {}

Device::Use::~Use() {
  void* popped = nullptr;
  if (pushed_) device_.driver().context_pop(&popped);
}

Stream::Stream(const Device& device) : device_(device) {
  device.driver().check(device.driver().stream_create(&handle_, kApartFromDefaultStream), "make a stream");
}

Stream::~Stream() { device_.driver().stream_destroy(handle_); }

void Stream::wait() const {
  device_.driver().check(device_.driver().stream_wait(handle_), "run the engine on " + device_.name());
}

DeviceMemory::DeviceMemory(const Device& device, std::size_t size) : device_(device), size_(size) {
  device.driver().check(device.driver().allocate(&address_, size),
                        "allocate " + std::to_string(size >> 20) + " MiB on " + device.name());
}

DeviceMemory::~DeviceMemory() { device_.driver().free(address_); }

void DeviceMemory::clear(const Stream& stream) const {
  device_.driver().check(device_.driver().set_bytes(address_, 0, size_, stream.handle()), "clear memory");
}

void DeviceMemory::write(const Stream& stream, const void* from, std::size_t size) const {
  device_.driver().check(device_.driver().to_device(address_, from, size, stream.handle()),
                         "copy to the GPU");
}

void DeviceMemory::read(const Stream& stream, void* to, std::size_t size, std::size_t offset) const {
  device_.driver().check(device_.driver().to_host(to, address_ + offset, size, stream.handle()),
                         "copy from the GPU");
}

HostMemory::HostMemory(const Device& device, std::size_t size) : device_(device) {
  device.driver().check(device.driver().host_allocate(&data_, size), "allocate memory that the GPU can copy");
}

HostMemory::~HostMemory() { device_.driver().host_free(data_); }

Graph::~Graph() {
  if (executable_ != nullptr) device_.driver().executable_destroy(executable_);
}

bool Graph::begin(const Stream& stream) const {
  return device_.driver().capture_begin(stream.handle(), kOtherThreadsGoOn) == 0;
}

bool Graph::end(const Stream& stream) {
  const Driver& cuda = device_.driver();
  void* graph = nullptr;
  if (cuda.capture_end(stream.handle(), &graph) != 0 || graph == nullptr) return false;
  if (cuda.graph_instantiate(&executable_, graph, 0) != 0) executable_ = nullptr;
  cuda.graph_destroy(graph);
  return recorded();
}

void Graph::drop(const Stream& stream) const {
  void* graph = nullptr;
  if (device_.driver().capture_end(stream.handle(), &graph) == 0 && graph != nullptr) {
    device_.driver().graph_destroy(graph);
  }
}

void Graph::launch(const Stream& stream) const {
  device_.driver().check(device_.driver().graph_launch(executable_, stream.handle()), "launch a CUDA graph");
}

}  // namespace castline::cuda
