#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "bindings/bindings.hpp"
#include "bindings/ids.hpp"
#include "kernels/cpu_features.hpp"
#include "runtime/archive.hpp"
#include "runtime/engine.hpp"
#include "runtime/tensorrt/backend.hpp"

namespace py = pybind11;

namespace castline {
namespace {

using Clock = std::chrono::steady_clock;

/// Asks Python now and then whether Ctrl-C was pressed; taking the GIL for every token would wait on the
/// program's other threads. The KeyboardInterrupt leaves through the engine.
class Signals {
 public:
  bool operator()() {
    constexpr std::chrono::milliseconds kPause{50};
    if (Clock::now() - asked_ < kPause) return false;
    asked_ = Clock::now();
    const py::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    return false;
  }

 private:
  Clock::time_point asked_ = Clock::now();
};

/// A damaged package is a PackageError, which is a DataError.
template <typename Call>
auto with_package_errors(const Call& call) {
  try {
    const py::gil_scoped_release release;
    return call();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    py::set_error(py::module_::import("castline.errors").attr("PackageError"), error.what());
    throw py::error_already_set();
  }
}

/// Where pip put TensorRT's library, if it did.
std::string installed_tensorrt() {
  return py::module_::import("castline.libraries").attr("tensorrt_path")().cast<std::string>();
}

py::dict info(const Engine& engine) {
  const Package& package = engine.package();
  const ModelConfig& model = package.model();
  const BackendInfo backend = engine.backend_info();
  py::dict info;
  info["backend"] = backend.name;
  info["weights"] = backend.weights;
  info["processor"] = backend.processor;
  info["threads"] = backend.threads;
  info["weight_bytes"] = backend.weight_bytes;
  info["tensors"] = backend.tensors;
  info["kv"] = backend.cache;
  info["note"] = engine.note();
  if (!backend.engine.empty()) {
    info["engine"] = backend.engine;
    info["library"] = backend.library;
  }
  info["castline_version"] = package.castline_version();
  info["max_context"] = package.max_context();
  info["eos_ids"] = package.eos_ids();
  info["bos_id"] = package.bos_id();
  info["vocab_size"] = model.vocab_size;
  info["hidden_size"] = model.hidden_size;
  info["intermediate_size"] = model.intermediate_size;
  info["num_hidden_layers"] = model.num_hidden_layers;
  info["num_attention_heads"] = model.num_attention_heads;
  info["num_key_value_heads"] = model.num_key_value_heads;
  info["head_dim"] = model.head_dim;
  return info;
}

py::list archive_members(const std::filesystem::path& path) {
  const std::vector<ArchiveMember> members = with_package_errors([&] {
    const MappedFile file(path.string());
    return read_archive(file.bytes(), path.string());
  });
  py::list found;
  for (const ArchiveMember& member : members) {
    found.append(py::make_tuple(member.name, member.offset, member.size, member.crc32));
  }
  return found;
}

py::dict examine_tensorrt(const std::string& search) {
  const tensorrt::Machine machine = [&] {
    const py::gil_scoped_release release;
    return tensorrt::examine(search);
  }();
  py::dict libraries;
  for (const tensorrt::Machine::Found& found : machine.libraries) {
    libraries[py::str(found.module)] = py::make_tuple(found.name, found.where);
  }
  py::dict result;
  result["left_out"] = machine.left_out;
  result["libraries"] = libraries;
  result["gpu"] = machine.gpu;
  result["compute_capability"] = machine.compute_capability;
  result["driver"] = machine.driver;
  return result;
}

GenerateResult generate(Engine& engine, const py::object& prompt_ids, std::size_t max_tokens,
                        float temperature, std::size_t top_k, float top_p, std::uint64_t seed,
                        const py::object& callback) {
  const Ids prompt = ids_from_python(prompt_ids);
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling = {.temperature = temperature, .top_k = top_k, .top_p = top_p, .seed = seed};
  options.interrupted = Signals();
  if (!callback.is_none()) {
    options.on_token = [&](std::uint32_t id, std::string_view text) {
      const py::gil_scoped_acquire acquire;
      return callback(id, text).ptr() != Py_False;
    };
  }
  const py::gil_scoped_release release;
  return engine.generate(prompt, options);
}

py::array_t<float> score(Engine& engine, const py::object& values) {
  const Ids ids = ids_from_python(values);
  std::vector<float> scores;
  {
    const py::gil_scoped_release release;
    scores = engine.score(ids, Signals());
  }
  return py::array_t<float>(static_cast<py::ssize_t>(scores.size()), scores.data());
}

py::array_t<float> logits(Engine& engine, const py::object& values) {
  const Ids ids = ids_from_python(values);
  py::array_t<float> out({ids.size(), engine.package().model().vocab_size});
  const std::span<float> room(out.mutable_data(), static_cast<std::size_t>(out.size()));
  {
    const py::gil_scoped_release release;
    engine.logits(ids, room, Signals());
  }
  return out;
}

}  // namespace

void bind_runtime(py::module_& m) {
  m.def(
      "cpu_levels",
      [] {
        std::vector<std::string> names;
        for (const auto level :
             {kernels::CpuLevel::scalar, kernels::CpuLevel::avx2, kernels::CpuLevel::avx512}) {
          if (level <= kernels::detected_cpu_level()) names.emplace_back(kernels::cpu_level_name(level));
        }
        return names;
      },
      "The instruction sets that the kernels can use on this machine, lowest first.");

  m.def("archive_members", &archive_members, py::arg("path"),
        "The members of a package in one file: [(name, offset, size, crc32)], in the order of the file.");

  m.def("examine_tensorrt", &examine_tensorrt, py::arg("search"),
        "What this build and this machine have of what running TensorRT engines takes.");

  py::class_<GenerateResult>(m, "GenerateResult", "What Engine.generate made.")
      .def_readonly("ids", &GenerateResult::ids)
      .def_property_readonly("text", [](const GenerateResult& r) { return r.text; })
      .def_property_readonly("finish_reason",
                             [](const GenerateResult& r) { return std::string(name_of(r.finish_reason)); })
      .def_readonly("prefill_seconds", &GenerateResult::prefill_seconds)
      .def_readonly("decode_seconds", &GenerateResult::decode_seconds);

  py::class_<Engine>(m, "Engine", "A package opened for running.")
      .def(py::init([](const std::filesystem::path& package, const std::string& backend, int threads,
                       const std::optional<std::string>& tensorrt_path) {
             EngineOptions options = {.backend = backend, .threads = threads};
             options.tensorrt_path = tensorrt_path.value_or("");
             if (!tensorrt_path && backend != "cpu") options.tensorrt_path = installed_tensorrt();
             return with_package_errors([&] { return std::make_unique<Engine>(package.string(), options); });
           }),
           py::arg("package"), py::arg("backend") = "cpu", py::arg("threads") = 0,
           py::arg("tensorrt_path") = py::none())
      .def("info", &info, "The model's configuration and how it runs here.")
      .def_property_readonly(
          "tokenizer", [](const Engine& e) { return e.tokenizer().get(); },
          py::return_value_policy::reference_internal)
      .def("generate", &generate, py::arg("prompt_ids"), py::arg("max_tokens") = 256,
           py::arg("temperature") = 0.0F, py::arg("top_k") = 0, py::arg("top_p") = 1.0F, py::arg("seed") = 0,
           py::arg("callback") = py::none(), "Continue the prompt.")
      .def("score", &score, py::arg("ids"), "The log-probability of ids[1:].")
      .def("logits", &logits, py::arg("ids"), "The logits after every token: [n, vocab_size].")
      .def(
          "verify", [](const Engine& e) { with_package_errors([&] { e.package().verify(); }); },
          "Check the SHA-256 of every file.");
}

}  // namespace castline
