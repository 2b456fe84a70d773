#include "runtime/tensorrt/shared_library.hpp"

#include <dlfcn.h>

#include <filesystem>
#include <sstream>
#include <system_error>

#include "base/error.hpp"

namespace castline {
namespace {

namespace fs = std::filesystem;

std::string loader_error() {
  const char* error = ::dlerror();
  return error != nullptr ? error : "no reason was given";
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& name, const std::string& search, const std::string& advice)
    : name_(name) {
  std::string tried;
  std::istringstream entries(search);
  for (std::string entry; std::getline(entries, entry, ':');) {
    if (entry.empty()) continue;
    std::error_code code;
    const fs::path path(entry);
    const std::string candidate = (path.filename() == name ? path : path / name).string();
    if (!fs::exists(candidate, code)) {
      tried += "\n  " + candidate + ": no such file";
    } else if (load(candidate)) {
      return;
    } else {
      tried += "\n  " + loader_error();
    }
  }
  if (load(name)) return;
  tried += "\n  where the system's loader looks: " + loader_error();
  throw_device("[library] expected " + name + ", but found none; tried:" + tried + "\n  " + advice);
}

bool SharedLibrary::load(const std::string& candidate) {
  handle_ = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
  path_ = candidate;
  return handle_ != nullptr;
}

void* SharedLibrary::symbol(const char* symbol) const {
  void* address = ::dlsym(handle_, symbol);
  if (address == nullptr) {
    throw_device("[library] expected the function " + std::string(symbol) + " in " + path_ +
                 ", but it has none; it is too old, or another library of that name");
  }
  return address;
}

}  // namespace castline
