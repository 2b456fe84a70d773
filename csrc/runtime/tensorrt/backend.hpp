// The TensorRT backend: a package's engine on the machine's GPU.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/backend.hpp"
#include "runtime/package.hpp"
#include "runtime/tensorrt/session.hpp"

namespace castline::tensorrt {

/// The engine of the package that was built for a compute capability ("8.9"): the first that names it, or
/// that was built on a GPU at hand and names none. Throws a device error with what there is where none was.
const PackageEngine& choose_engine(const Package& package, const std::string& compute_capability);

/// Opens the engine that suits this machine. `search` as in open_library. Throws a device error that says
/// what is missing: an engine in the package, the backend in this build, TensorRT's library, a driver, a GPU,
/// an engine for this GPU, or one that loads.
std::unique_ptr<Backend> open_backend(const Package& package, const std::string& search);

/// What running engines takes, and whether this machine has it; what is missing is told by a message.
struct Machine {
  std::string left_out;  ///< why this build has no TensorRT backend; empty where it has it
  struct Found {
    std::string module;  ///< whose engines it runs: tensorrt_rtx or tensorrt
    std::string name;    ///< what it calls itself, and its version; empty where it is missing
    std::string where;   ///< its file, or why it is missing
  };
  std::vector<Found> libraries;
  std::string gpu;                 ///< its name; empty where there is none
  std::string compute_capability;  ///< its own
  std::string driver;              ///< the newest CUDA that the driver supports, or why there is no GPU
};

/// Looks for libraries, driver and GPU. `search` as in open_library.
Machine examine(const std::string& search);

/// Sequences over a session, which has room for one: starting the next ends the one before.
class TensorRtBackend final : public Backend {
 public:
  TensorRtBackend(std::unique_ptr<cuda::Device> device, std::unique_ptr<Library> library,
                  std::unique_ptr<Session> session, BackendInfo info);

  std::unique_ptr<Sequence> start(std::size_t capacity) override;
  BackendInfo info() const override { return info_; }
  Session& session() { return *session_; }

 private:
  // In the order they depend on each other.
  std::unique_ptr<cuda::Device> device_;
  std::unique_ptr<Library> library_;
  std::unique_ptr<Session> session_;
  BackendInfo info_;
};

}  // namespace castline::tensorrt
