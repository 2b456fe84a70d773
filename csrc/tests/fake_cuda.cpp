// A libcuda.so.1 for machines without a GPU: one device whose memory is the host's, streams that do their
// work at once, and graphs that are lists of it. Strict: what the driver would refuse, or would leave
// undefined, is an error here. Test programs load it as they would NVIDIA's, through the loader's search
// path.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

constexpr int kOk = 0;
constexpr int kInvalidValue = 1;
constexpr int kOutOfMemory = 2;
constexpr int kNoDevice = 100;
constexpr int kInvalidContext = 201;
constexpr int kInvalidHandle = 400;
constexpr int kIllegalAddress = 700;
constexpr int kCaptureInvalidated = 901;

using Work = std::function<int()>;

struct Graph {
  std::vector<Work> work;
};

struct Stream {
  std::unique_ptr<Graph> capture;
  bool invalidated = false;
  int failed = kOk;  // of work done since the last wait

  int give(Work work) {
    if (capture) {
      capture->work.push_back(std::move(work));
      return kOk;
    }
    const int result = work();
    if (failed == kOk) failed = result;
    return kOk;
  }
};

// What the test asks for through the environment.
bool asked(const char* what) {
  const char* value = std::getenv("FAKE_CUDA");
  return value != nullptr && std::strcmp(value, what) == 0;
}

struct State {
  std::map<std::uint64_t, std::size_t> device_memory;  // begin -> size
  std::map<void*, std::size_t> host_memory;
  std::size_t capacity = std::size_t{64} << 20;
  int contexts = 0;  // how often the primary context is retained
  bool initialised = false;
};

State& state() {
  static State& state = *new State;
  return state;
}

int primary_context;  // its address is the context
thread_local std::vector<void*> current;

bool is_current() { return !current.empty() && state().contexts > 0; }

bool inside(std::uint64_t address, std::size_t size) {
  const auto& memory = state().device_memory;
  auto after = memory.upper_bound(address);
  if (after == memory.begin()) return false;
  const auto& [begin, length] = *--after;
  return address + size <= begin + length;
}

bool inside_host(const void* pointer, std::size_t size) {
  const auto& memory = state().host_memory;
  auto after = memory.upper_bound(const_cast<void*>(pointer));
  if (after == memory.begin()) return false;
  const auto& [begin, length] = *--after;
  return static_cast<const char*>(pointer) + size <= static_cast<char*>(begin) + length;
}

Stream* stream_of(void* handle) { return static_cast<Stream*>(handle); }

}  // namespace

#define FAKE extern "C" __attribute__((visibility("default"))) int

FAKE cuInit(unsigned) {
  if (asked("broken")) return 803;
  state().initialised = true;
  return asked("no device") ? kNoDevice : kOk;
}
FAKE cuGetErrorString(int error, const char** text) {
  static const std::map<int, const char*> texts = {{kInvalidValue, "invalid argument"},
                                                   {kOutOfMemory, "out of memory"},
                                                   {kIllegalAddress, "an illegal memory access"},
                                                   {803, "system has unsupported driver"}};
  const auto found = texts.find(error);
  if (found == texts.end()) return kInvalidValue;
  *text = found->second;
  return kOk;
}
FAKE cuDriverGetVersion(int* version) {
  *version = 13000;
  return kOk;
}
FAKE cuDeviceGetCount(int* count) {
  *count = 1;
  return state().initialised ? kOk : 3;
}
FAKE cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? kOk : kInvalidValue;
}
FAKE cuDeviceGetName(char* name, int length, int) {
  std::snprintf(name, static_cast<std::size_t>(length), "Fake GPU");
  return kOk;
}
FAKE cuDeviceGetAttribute(int* value, int attribute, int) {
  if (attribute != 75 && attribute != 76) return kInvalidValue;
  *value = attribute == 75 ? 8 : 9;
  return kOk;
}
FAKE cuDevicePrimaryCtxRetain(void** context, int) {
  ++state().contexts;
  *context = &primary_context;
  return kOk;
}
FAKE cuDevicePrimaryCtxRelease_v2(int) {
  --state().contexts;
  return kOk;
}
FAKE cuCtxPushCurrent_v2(void* context) {
  if (context != &primary_context || state().contexts == 0) return kInvalidContext;
  current.push_back(context);
  return kOk;
}
FAKE cuCtxPopCurrent_v2(void** context) {
  if (current.empty()) return kInvalidContext;
  *context = current.back();
  current.pop_back();
  return kOk;
}
FAKE cuMemAlloc_v2(std::uint64_t* address, std::size_t size) {
  if (!is_current()) return kInvalidContext;
  if (size == 0) return kInvalidValue;
  std::size_t used = size;
  for (const auto& [begin, length] : state().device_memory) used += length;
  if (used > state().capacity) return kOutOfMemory;
  void* memory = std::aligned_alloc(512, (size + 511) / 512 * 512);
  std::memset(memory, 0xFF, size);  // NaN in every floating point format
  *address = reinterpret_cast<std::uint64_t>(memory);
  state().device_memory[*address] = size;
  return kOk;
}
FAKE cuMemFree_v2(std::uint64_t address) {
  if (!is_current()) return kInvalidContext;
  if (state().device_memory.erase(address) == 0) return kInvalidValue;
  std::free(reinterpret_cast<void*>(address));
  return kOk;
}
FAKE cuMemAllocHost_v2(void** memory, std::size_t size) {
  if (!is_current()) return kInvalidContext;
  *memory = std::aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  state().host_memory[*memory] = size;
  return kOk;
}
FAKE cuMemFreeHost(void* memory) {
  if (!is_current()) return kInvalidContext;
  if (state().host_memory.erase(memory) == 0) return kInvalidValue;
  std::free(memory);
  return kOk;
}
FAKE cuStreamCreate(void** stream, unsigned) {
  if (!is_current()) return kInvalidContext;
  *stream = new Stream;
  return kOk;
}
FAKE cuStreamDestroy_v2(void* stream) {
  delete stream_of(stream);
  return is_current() ? kOk : kInvalidContext;
}
FAKE cuStreamSynchronize(void* stream) {
  if (!is_current()) return kInvalidContext;
  const int failed = stream_of(stream)->failed;
  stream_of(stream)->failed = kOk;
  return failed;
}
FAKE cuMemsetD8Async(std::uint64_t address, unsigned char value, std::size_t size, void* stream) {
  if (!is_current()) return kInvalidContext;
  return stream_of(stream)->give([=] {
    if (!inside(address, size)) return kIllegalAddress;
    std::memset(reinterpret_cast<void*>(address), value, size);
    return kOk;
  });
}
FAKE cuMemcpyHtoDAsync_v2(std::uint64_t to, const void* from, std::size_t size, void* stream) {
  if (!is_current()) return kInvalidContext;
  return stream_of(stream)->give([=] {
    if (!inside(to, size) || !inside_host(from, size)) return kIllegalAddress;
    std::memcpy(reinterpret_cast<void*>(to), from, size);
    return kOk;
  });
}
FAKE cuMemcpyDtoHAsync_v2(void* to, std::uint64_t from, std::size_t size, void* stream) {
  if (!is_current()) return kInvalidContext;
  return stream_of(stream)->give([=] {
    if (!inside(from, size) || !inside_host(to, size)) return kIllegalAddress;
    std::memcpy(to, reinterpret_cast<void*>(from), size);
    return kOk;
  });
}
// For the engines of the tests: what a kernel would do, in the stream's order.
FAKE cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
  if (!is_current()) return kInvalidContext;
  return stream_of(stream)->give([=] {
    function(data);
    return kOk;
  });
}
FAKE cuStreamBeginCapture_v2(void* stream, int mode) {
  if (mode < 0 || mode > 2 || stream_of(stream)->capture) return kInvalidValue;
  stream_of(stream)->capture = std::make_unique<Graph>();
  stream_of(stream)->invalidated = asked("no capture");
  return kOk;
}
FAKE cuStreamEndCapture(void* stream, void** graph) {
  Stream& captured = *stream_of(stream);
  *graph = nullptr;
  if (!captured.capture) return kInvalidValue;
  if (captured.invalidated) {
    captured.capture.reset();
    return kCaptureInvalidated;
  }
  *graph = captured.capture.release();
  return kOk;
}
FAKE cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long flags) {
  if (flags != 0) return kInvalidValue;
  *executable = new Graph(*static_cast<Graph*>(graph));
  return kOk;
}
FAKE cuGraphDestroy(void* graph) {
  delete static_cast<Graph*>(graph);
  return kOk;
}
FAKE cuGraphExecDestroy(void* executable) {
  delete static_cast<Graph*>(executable);
  return kOk;
}
FAKE cuGraphLaunch(void* executable, void* stream) {
  if (executable == nullptr) return kInvalidHandle;
  if (!is_current()) return kInvalidContext;
  for (const Work& work : static_cast<Graph*>(executable)->work) stream_of(stream)->give(work);
  return kOk;
}
// What is left over: the tests ask when everything should have been given back.
FAKE fake_cuda_left_over(void) {
  return static_cast<int>(state().device_memory.size() + state().host_memory.size()) + state().contexts;
}
