// The one file that speaks to TensorRT, through the headers of TensorRT 11. The library is loaded while the
// program runs: libnvinfer.so.11, or libtensorrt_rtx.so.1, which from TensorRT for RTX 1.7 on has the
// functions called here at the same places of its tables.
#include <NvInferRuntime.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <utility>

#include "base/error.hpp"
#include "runtime/tensorrt/engine_api.hpp"
#include "runtime/tensorrt/shared_library.hpp"

namespace castline::tensorrt {
namespace {

constexpr int kHeaderMajor = NV_TENSORRT_MAJOR;
static_assert(kHeaderMajor == 11, "the TensorRT backend is written for the headers of TensorRT 11");

// One of the libraries, and which of its versions the headers fit. A version is major · 10000 + minor · 100 +
// patch.
struct Flavour {
  std::string_view module;
  const char* title;
  const char* file;
  int least;
  int below;
  const char* install;
};

constexpr std::array<Flavour, 2> kFlavours = {{
    {"tensorrt_rtx", "TensorRT for RTX", "libtensorrt_rtx.so.1", 10700, 20000, "castline[tensorrt-rtx]"},
    {"tensorrt", "TensorRT", "libnvinfer.so.11", 110000, 120000, "castline[tensorrt]"},
}};

std::string dotted(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

// Keeps the last errors. TensorRT goes on using the first logger that a process gives it, so there is one,
// and it is never destroyed.
class Log final : public nvinfer1::ILogger {
 public:
  static Log& instance() {
    static Log& log = *new Log;
    return log;
  }

  void log(Severity severity, const char* message) noexcept override {
    if (severity > Severity::kERROR) return;
    try {
      const std::lock_guard lock(mutex_);
      if (std::find(lines_.begin(), lines_.end(), message) != lines_.end()) return;
      lines_.emplace_back(message);
      if (lines_.size() > kLines) lines_.pop_front();
    } catch (...) {  // out of memory: the line is lost
    }
  }

  // The errors since the last call, for the end of a message.
  std::string take() {
    const std::lock_guard lock(mutex_);
    std::string text;
    for (const std::string& line : std::exchange(lines_, {})) text += "\n  " + line;
    return text.empty() ? "\n  (no reason was given)" : text;
  }

 private:
  static constexpr std::size_t kLines = 8;
  std::mutex mutex_;
  std::deque<std::string> lines_;
};

// TensorRT's functions do not throw; they return false or null and tell the log why.
void check(bool done, const std::string& what) {
  if (!done) throw_device("[tensorrt] expected to " + what + ", but TensorRT said:" + Log::instance().take());
}

ElementType element_type(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return ElementType::f32;
    case nvinfer1::DataType::kHALF:
      return ElementType::f16;
    case nvinfer1::DataType::kBF16:
      return ElementType::bf16;
    case nvinfer1::DataType::kINT64:
      return ElementType::i64;
    default:
      return ElementType::other;
  }
}

std::vector<std::int64_t> shape_of(const nvinfer1::Dims& dims) {
  return {dims.d, dims.d + std::max(dims.nbDims, 0)};
}

class TensorRtExecution final : public Execution {
 public:
  TensorRtExecution(nvinfer1::ICudaEngine& engine, int profile, cuda::StreamHandle stream)
      : context_(engine.createExecutionContext()) {
    check(context_ != nullptr, "make the engine ready to run");
    check(context_->setOptimizationProfileAsync(profile, stream),
          "choose the optimisation profile " + std::to_string(profile));
  }

  void set_shape(const std::string& input, std::span<const std::int64_t> shape) override {
    nvinfer1::Dims dims{};
    dims.nbDims = static_cast<std::int32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), dims.d);
    check(context_->setInputShape(input.c_str(), dims), "set the shape of " + input);
  }

  void set_address(const std::string& tensor, cuda::Address address) override {
    void* const pointer = reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
    check(context_->setTensorAddress(tensor.c_str(), pointer), "set the address of " + tensor);
  }

  void enqueue(cuda::StreamHandle stream) override { check(context_->enqueueV3(stream), "run the engine"); }

 private:
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

class TensorRtEngine final : public LoadedEngine {
 public:
  explicit TensorRtEngine(std::unique_ptr<nvinfer1::ICudaEngine> engine) : engine_(std::move(engine)) {}

  std::vector<Tensor> tensors() const override {
    std::vector<Tensor> tensors;
    for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
      const char* name = engine_->getIOTensorName(i);
      if (engine_->getTensorLocation(name) != nvinfer1::TensorLocation::kDEVICE) {
        throw_data("[tensorrt] expected every tensor of the engine in the GPU's memory, but " +
                   std::string(name) + " is in the host's; compile the package again");
      }
      tensors.push_back({.name = name,
                         .is_input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT,
                         .type = element_type(engine_->getTensorDataType(name)),
                         .shape = shape_of(engine_->getTensorShape(name))});
    }
    return tensors;
  }

  int profiles() const override { return engine_->getNbOptimizationProfiles(); }

  std::vector<std::int64_t> largest(const std::string& input, int profile) const override {
    return shape_of(engine_->getProfileShape(input.c_str(), profile, nvinfer1::OptProfileSelector::kMAX));
  }

  std::unique_ptr<Execution> execution(int profile, cuda::StreamHandle stream) override {
    return std::make_unique<TensorRtExecution>(*engine_, profile, stream);
  }

 private:
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
};

class TensorRtLibrary final : public Library {
 public:
  TensorRtLibrary(const Flavour& flavour, SharedLibrary library)
      : flavour_(flavour), library_(std::move(library)) {
    int (*version)() = nullptr;
    library_.resolve(version, "getInferLibVersion");
    version_ = version();
    if (version_ < flavour.least || version_ >= flavour.below) {
      throw_device("[tensorrt] expected " + std::string(flavour.title) + " from " + dotted(flavour.least) +
                   " to below " + dotted(flavour.below) + ", which this build can speak to, but " +
                   library_.path() + " is " + dotted(version_) + "; pip install '" + flavour.install + "'");
    }
    void* (*create)(void* logger, std::int32_t version) = nullptr;
    library_.resolve(create, "createInferRuntime_INTERNAL");
    runtime_.reset(static_cast<nvinfer1::IRuntime*>(create(&Log::instance(), NV_TENSORRT_VERSION)));
    check(runtime_ != nullptr, "start " + name());
  }

  std::string name() const override { return std::string(flavour_.title) + " " + dotted(version_); }
  std::string path() const override { return library_.path(); }

  std::unique_ptr<LoadedEngine> load(std::span<const std::byte> engine) override {
    std::unique_ptr<nvinfer1::ICudaEngine> loaded(
        runtime_->deserializeCudaEngine(engine.data(), engine.size()));
    check(loaded != nullptr, "load the engine with " + name());
    return std::make_unique<TensorRtEngine>(std::move(loaded));
  }

 private:
  const Flavour& flavour_;
  SharedLibrary library_;
  int version_ = 0;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
};

}  // namespace

std::string left_out() { return {}; }

std::unique_ptr<Library> open_library(std::string_view module, const std::string& search) {
  const auto flavour = std::find_if(kFlavours.begin(), kFlavours.end(),
                                    [&](const Flavour& known) { return known.module == module; });
  if (flavour == kFlavours.end()) {
    throw_device("[tensorrt] expected an engine of tensorrt_rtx or tensorrt, but got one of '" +
                 std::string(module) + "'; update castline");
  }
  const char* variable = std::getenv("CASTLINE_TENSORRT_PATH");
  const std::string places = (variable != nullptr ? std::string(variable) + ":" : "") + search;
  return std::make_unique<TensorRtLibrary>(
      *flavour, SharedLibrary(flavour->file, places,
                              std::string("pip install '") + flavour->install +
                                  "', or name its folder in CASTLINE_TENSORRT_PATH"));
}

}  // namespace castline::tensorrt
