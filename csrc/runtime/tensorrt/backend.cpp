#include "runtime/tensorrt/backend.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/mapped_file.hpp"

namespace castline::tensorrt {
namespace {

class GpuSequence final : public Sequence {
 public:
  GpuSequence(Session& session, std::size_t capacity) : session_(session), capacity_(capacity) {}

  std::size_t length() const override { return length_; }

  void append(std::span<const std::uint32_t> tokens, std::size_t logits_from,
              const LogitsSink& sink) override {
    if (tokens.size() > capacity_ - length_) {
      throw_usage("[append] expected at most " + std::to_string(capacity_ - length_) +
                  " more tokens, but got " + std::to_string(tokens.size()));
    }
    for (std::size_t done = 0; done < tokens.size();) {
      // Up to where the engine's tokens or logits run out.
      const std::size_t without = logits_from > done ? logits_from - done : 0;
      const std::size_t count =
          std::min({tokens.size() - done, session_.max_tokens(), without + session_.max_logits()});
      session_.step(tokens.subspan(done, count), length_, count - std::min(count, without),
                    [&](std::size_t index, std::span<const float> logits) { sink(done + index, logits); });
      done += count;
      length_ += count;
    }
  }

 private:
  Session& session_;
  std::size_t capacity_;
  std::size_t length_ = 0;
};

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

std::string what_there_is(const Package& package) {
  std::vector<std::string> found;
  for (const PackageEngine& engine : package.engines()) {
    found.push_back(engine.path + " for " + joined(engine.compute_capabilities));
  }
  return joined(found);
}

}  // namespace

const PackageEngine& choose_engine(const Package& package, const std::string& compute_capability) {
  const auto suits = [&](const PackageEngine& engine) {
    const std::vector<std::string>& served = engine.compute_capabilities;
    return served.empty() || std::find(served.begin(), served.end(), compute_capability) != served.end();
  };
  const std::vector<PackageEngine>& engines = package.engines();
  const auto found = std::find_if(engines.begin(), engines.end(), suits);
  if (found == engines.end()) {
    throw_device("[tensorrt] expected an engine for compute capability " + compute_capability + " in " +
                 package.location() + ", but it has " + what_there_is(package) +
                 "; build one with `castline rebuild " + package.location() + " --compute-capability " +
                 compute_capability + "`");
  }
  return *found;
}

std::unique_ptr<Backend> open_backend(const Package& package, const std::string& search) {
  if (package.engines().empty()) {
    throw_device("[tensorrt] expected a package with a TensorRT engine, but " + package.location() +
                 " has none; build one with `castline compile ... --target tensorrt-rtx`");
  }
  if (const std::string reason = left_out(); !reason.empty()) throw_device(reason);
  auto device = std::make_unique<cuda::Device>();
  const PackageEngine& chosen = choose_engine(package, device->compute_capability());
  std::unique_ptr<Library> library = open_library(chosen.library, search);

  const MappedFile file = package.map(chosen.path, "the TensorRT backend");
  const std::string processor = device->name() + " (compute capability " + device->compute_capability() + ")";
  std::unique_ptr<LoadedEngine> engine;
  try {
    const cuda::Device::Use use(*device);
    engine = library->load(file.bytes());
  } catch (const Error& error) {
    throw_device(std::string(error.what()) + "\n  " + chosen.path + " was built by " + chosen.library + " " +
                 chosen.version + " for " + joined(chosen.compute_capabilities) + ", and is to run on " +
                 processor + " with a driver for CUDA " + device->driver_version() +
                 "; build it again on this machine: `castline rebuild " + package.location() + "`");
  }
  const Expected expected = {.vocab_size = package.model().vocab_size,
                             .layers = package.model().num_hidden_layers,
                             .max_context = package.max_context()};
  auto session = std::make_unique<Session>(*device, std::move(engine), expected);
  BackendInfo info = {.name = "tensorrt",
                      .weights = chosen.weights,
                      .processor = processor,
                      .threads = 1,
                      .weight_bytes = file.size(),
                      .engine = chosen.path,
                      .library = library->name()};
  return std::make_unique<TensorRtBackend>(std::move(device), std::move(library), std::move(session),
                                           std::move(info));
}

Machine examine(const std::string& search) {
  Machine machine;
  machine.left_out = left_out();
  if (machine.left_out.empty()) {
    for (const char* module : {"tensorrt_rtx", "tensorrt"}) {
      try {
        const std::unique_ptr<Library> library = open_library(module, search);
        machine.libraries.push_back({module, library->name(), library->path()});
      } catch (const Error& error) {
        machine.libraries.push_back({module, "", error.what()});
      }
    }
  }
  try {
    const cuda::Device device;
    machine.gpu = device.name();
    machine.compute_capability = device.compute_capability();
    machine.driver = device.driver_version();
  } catch (const Error& error) {
    machine.driver = error.what();
  }
  return machine;
}

TensorRtBackend::TensorRtBackend(std::unique_ptr<cuda::Device> device, std::unique_ptr<Library> library,
                                 std::unique_ptr<Session> session, BackendInfo info)
    : device_(std::move(device)),
      library_(std::move(library)),
      session_(std::move(session)),
      info_(std::move(info)) {}

std::unique_ptr<Sequence> TensorRtBackend::start(std::size_t capacity) {
  return std::make_unique<GpuSequence>(*session_, capacity);
}

}  // namespace castline::tensorrt
