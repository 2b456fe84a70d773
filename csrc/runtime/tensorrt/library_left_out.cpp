// In place of library.cpp in a build without TensorRT's headers.
#include "base/error.hpp"
#include "runtime/tensorrt/engine_api.hpp"

namespace castline::tensorrt {

std::string left_out() {
  return "[tensorrt] expected a build with the TensorRT backend, but this one was made without TensorRT's "
         "headers; build castline with -DTENSORRT_INCLUDE_DIR=FOLDER (make build "
         "TENSORRT_INCLUDE_DIR=FOLDER), "
         "or use the cpu backend";
}

std::unique_ptr<Library> open_library(std::string_view, const std::string&) { throw_device(left_out()); }

}  // namespace castline::tensorrt
