// The TensorRT backend's own work (memory, bindings, positions, phases, CUDA graphs, choosing an engine) on a
// fake driver and a fake engine: any machine runs this. TensorRT itself is met in
// tests/csrc/test_runtime_tensorrt.py.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"
#include "fake_engine.hpp"
#include "runtime/engine.hpp"
#include "runtime/tensorrt/backend.hpp"
#include "tiny_package.hpp"

using namespace castline;
using namespace castline::test;
using castline::tensorrt::Session;
using castline::tensorrt::TensorRtBackend;
using Ids = std::vector<std::uint32_t>;

namespace {

void* fake_driver() {
  static void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return driver;
}

int left_over() { return reinterpret_cast<int (*)()>(::dlsym(fake_driver(), "fake_cuda_left_over"))(); }

std::unique_ptr<TensorRtBackend> backend(FakeTraits traits = {}) {
  traits.launch = reinterpret_cast<decltype(traits.launch)>(::dlsym(fake_driver(), "cuLaunchHostFunc"));
  auto device = std::make_unique<cuda::Device>();
  const tensorrt::Expected expected = {.vocab_size = kFakeVocab, .layers = kFakeLayers, .max_context = 24};
  auto session = std::make_unique<Session>(*device, std::make_unique<FakeEngine>(traits), expected);
  return std::make_unique<TensorRtBackend>(std::move(device), nullptr, std::move(session), BackendInfo{});
}

template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

// The environment variable that the fake driver looks at.
struct Asked {
  explicit Asked(const char* what) { ::setenv("FAKE_CUDA", what, 1); }
  ~Asked() { ::unsetenv("FAKE_CUDA"); }
};

Ids some_ids(std::size_t count, std::uint32_t seed) {
  Ids ids;
  for (std::size_t i = 0; i < count; ++i) ids.push_back((seed + 7 * static_cast<std::uint32_t>(i * i)) % 5);
  return ids;
}

// Appends `ids` in pieces of the given sizes, the logits from `from` on, and compares every one.
void check_sequence(TensorRtBackend& backend, const Ids& ids, const std::vector<std::size_t>& pieces,
                    std::size_t from) {
  const auto sequence = backend.start(ids.size());
  std::size_t done = 0;
  std::size_t next = from;
  for (const std::size_t piece : pieces) {
    const std::size_t begin = done;
    sequence->append(std::span(ids).subspan(done, piece), from > done ? from - done : 0,
                     [&](std::size_t index, std::span<const float> logits) {
                       const std::size_t at = begin + index;
                       CHECK(at == next++);  // in order, none left out
                       const std::vector<float> expected = fake_logits(std::span(ids).first(at + 1));
                       CHECK(std::equal(logits.begin(), logits.end(), expected.begin(), expected.end()));
                     });
    done += piece;
    CHECK(sequence->length() == done);
  }
  CHECK(next == std::max(from, done) && done == ids.size());
}

void test_sequences() {
  const auto gpu = backend();
  CHECK(!gpu->session().replays_decoding());
  // One piece longer than a prefill (8 tokens, 3 logits), logits of all, of some, of the last.
  for (const std::size_t from : {0, 1, 5, 20, 23}) check_sequence(*gpu, some_ids(24, 1), {24}, from);
  // Prefill, then decoding token by token up to the end of the cache, then prefill again.
  check_sequence(*gpu, some_ids(24, 2), {9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 0);
  CHECK(gpu->session().replays_decoding());
  check_sequence(*gpu, some_ids(20, 3), {1, 1, 8, 1, 1, 5, 3}, 0);
  check_sequence(*gpu, some_ids(20, 4), {1, 1, 8, 1, 1, 5, 3}, 19);
  // What a longer sequence left in the cache is not seen by a shorter one.
  check_sequence(*gpu, some_ids(2, 0), {1, 1}, 0);
}

void test_threads_take_turns() {
  // The driver's current device is a thread's own.
  const auto gpu = backend();
  std::thread([&] { check_sequence(*gpu, some_ids(10, 1), {6, 1, 1, 1, 1}, 0); }).join();
  check_sequence(*gpu, some_ids(10, 2), {6, 1, 1, 1, 1}, 0);
}

void test_decoding_without_a_graph() {
  {
    const Asked asked("no capture");  // the driver refuses
    const auto gpu = backend();
    check_sequence(*gpu, some_ids(9, 1), {5, 1, 1, 1, 1}, 0);
    CHECK(!gpu->session().replays_decoding());
  }
  FakeTraits traits;  // TensorRT refuses, and so while it is recorded
  traits.refuses_to_be_captured = true;
  const auto gpu = backend(traits);
  check_sequence(*gpu, some_ids(9, 1), {5, 1, 1, 1, 1}, 0);
  CHECK(!gpu->session().replays_decoding());
}

void test_usage() {
  const auto gpu = backend();
  const auto sequence = gpu->start(4);
  const auto nothing = [](std::size_t, std::span<const float>) {};
  CHECK_THROWS(sequence->append(Ids(5, 1), 0, nothing), "at most 4 more tokens, but got 5");
  CHECK(sequence->length() == 0);
}

void test_engines_that_do_not_fit() {
  const auto with = [](auto change) {
    FakeTraits traits;
    change(traits);
    return traits;
  };
  CHECK_THROWS(backend(with([](FakeTraits& t) { t.context = 16; })), "room for the package's 24 tokens");
  CHECK_THROWS(backend(with([](FakeTraits& t) { t.vocab = 6; })), "logits of the package's 5 tokens");
  CHECK_THROWS(backend(with([](FakeTraits& t) { t.profiles = 1; })), "two optimisation profiles");
  for (const char* name : {"position_ids", "logits", "past_key_values.1.value", "present.0.key"}) {
    const std::string message = message_of([&] { backend(with([&](FakeTraits& t) { t.without = name; })); });
    CHECK(message.find(name) != std::string::npos);
  }
  // The logits of a prefill alone take more than the fake GPU has.
  CHECK_THROWS(backend(with([](FakeTraits& t) { t.prefill_logits = 4 << 20; })), "out of memory");
  CHECK(left_over() == 0);
}

void test_devices() {
  {
    const Asked asked("no device");
    CHECK_THROWS(cuda::Device(), "expected a GPU, but found none");
  }
  {
    const Asked asked("broken");
    CHECK_THROWS(cuda::Device(), "CUDA error 803, system has unsupported driver");
  }
  const cuda::Device device;
  CHECK(device.name() == "Fake GPU" && device.compute_capability() == "8.9");
  CHECK(device.driver_version() == "13.0");
}

// package.json with TensorRT engines, and the CPU's weights where asked.
void write_package(const TemporaryFolder& folder, const std::string& engines, bool cpu) {
  const std::string weights = tiny_weights();
  std::string manifest = tiny_manifest(weights);
  const std::string old = R"("backends": {"cpu": {"weights": "f32", "status": "passed"}})";
  manifest.replace(manifest.find(old), old.size(), R"("backends": {)" + engines + "}");
  const std::string file = R"("cpu/weights.safetensors": {)";
  const std::string more = R"("tensorrt-rtx/model.engine": {"size": 9, "sha256": ""}, )";
  manifest.insert(manifest.find(file), more);
  if (!cpu) manifest.replace(manifest.find(file), file.size(), R"("other.bin": {)");
  folder.write(cpu ? "cpu/weights.safetensors" : "other.bin", weights);
  folder.write("tensorrt-rtx/model.engine", "no engine");
  folder.write("package.json", manifest);
}

std::string engine_entry(const std::string& name, const std::string& capabilities,
                         const std::string& library = "tensorrt_rtx") {
  return "\"" + name + R"(": {"weights": "f16", "file": ")" + name +
         R"(/model.engine", "engine": {"library": ")" + library +
         R"(", "version": "1.7.1.116", "compute_capabilities": [)" + capabilities + "]}}";
}

void test_choosing_an_engine() {
  const TemporaryFolder folder;
  write_package(folder, engine_entry("tensorrt-rtx", R"("8.0", "8.9")"), true);
  const Package package(folder.path());
  CHECK(package.engines().size() == 1 && package.engines()[0].library == "tensorrt_rtx");
  CHECK(tensorrt::choose_engine(package, "8.9").path == "tensorrt-rtx/model.engine");
  CHECK_THROWS(tensorrt::choose_engine(package, "9.0"), "tensorrt-rtx/model.engine for 8.0, 8.9");
  CHECK_THROWS(tensorrt::choose_engine(package, "9.0"), "--compute-capability 9.0");

  write_package(folder, engine_entry("tensorrt-rtx", R"("8.6")") + ", " + engine_entry("tensorrt", ""), true);
  const Package two(folder.path());
  CHECK(tensorrt::choose_engine(two, "8.6").path == "tensorrt-rtx/model.engine");
  CHECK(tensorrt::choose_engine(two, "9.0").path == "tensorrt/model.engine");  // for the GPU it was built on
}

void test_falling_back() {
  const TemporaryFolder folder;
  write_package(folder, engine_entry("tensorrt-rtx", R"("7.5")"), true);
  // This build, or then this GPU, cannot run it; `auto` says so and takes the cpu.
  const std::string reason = tensorrt::left_out().empty() ? "engine for compute capability 8.9" : "headers";
  const Engine engine(folder.path(), {.backend = "auto", .threads = 1});
  CHECK(engine.backend_info().name == "cpu" && engine.backend_info().engine.empty());
  CHECK(engine.note().find(reason) != std::string::npos);
  CHECK_THROWS(Engine(folder.path(), {.backend = "tensorrt", .threads = 1}), "expected");

  write_package(folder, engine_entry("tensorrt-rtx", R"("7.5")"), false);
  CHECK_THROWS(Engine(folder.path(), {.backend = "auto", .threads = 1}), "no weights for the cpu backend");

  // A package without engines has nothing better to offer.
  write_package(folder, R"("cpu": {"weights": "f32", "status": "passed"})", true);
  CHECK(Engine(folder.path(), {.backend = "auto", .threads = 1}).note().empty());
  CHECK_THROWS(Engine(folder.path(), {.backend = "tensorrt", .threads = 1}), "--target tensorrt-rtx");
}

void test_a_missing_library() {
  if (!tensorrt::left_out().empty()) return;
  ::setenv("CASTLINE_TENSORRT_PATH", "/nowhere/from/the/environment", 1);
  const TemporaryFolder folder;
  folder.write("libtensorrt_rtx.so.1", "not a library");
  const auto open = [&] { tensorrt::open_library("tensorrt_rtx", "/nowhere/else:" + folder.path()); };
  // Where it was looked for, in order, and why not.
  CHECK_THROWS(open(),
               "expected libtensorrt_rtx.so.1, but found none; tried:\n  /nowhere/from/the/environment/lib");
  CHECK_THROWS(open(), "/nowhere/else/libtensorrt_rtx.so.1: no such file");
  CHECK(message_of(open).find(folder.path() + "/libtensorrt_rtx.so.1: ") != std::string::npos);
  CHECK_THROWS(open(), "pip install 'castline[tensorrt-rtx]'");
  CHECK_THROWS(tensorrt::open_library("tensorrt_next", ""), "'tensorrt_next'; update castline");
  ::unsetenv("CASTLINE_TENSORRT_PATH");
}

}  // namespace

int main() {
  if (fake_driver() == nullptr || ::dlsym(fake_driver(), "fake_cuda_left_over") == nullptr) {
    std::fprintf(stderr, "run this through ctest, which puts the fake driver where the loader looks\n");
    return EXIT_FAILURE;
  }
  test_sequences();
  test_threads_take_turns();
  test_decoding_without_a_graph();
  test_usage();
  test_engines_that_do_not_fit();
  test_devices();
  test_choosing_an_engine();
  test_falling_back();
  test_a_missing_library();
  CHECK(left_over() == 0);
  return finish();
}
