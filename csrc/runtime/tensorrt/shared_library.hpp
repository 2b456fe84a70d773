// Libraries that are loaded while the program runs: NVIDIA's, which castline neither links nor ships.
#pragma once

#include <string>

namespace castline {

/// A library loaded with dlopen, for the rest of the process: NVIDIA's libraries do not survive unloading.
class SharedLibrary {
 public:
  /// Loads `name` ("libcuda.so.1") from the first place that has it: each entry of `search`, folders or whole
  /// paths of the file separated by ':', then wherever the system's loader looks. Throws a device error that
  /// lists what was tried and ends in `advice`.
  SharedLibrary(const std::string& name, const std::string& search, const std::string& advice);

  const std::string& name() const { return name_; }
  /// The file that was loaded; the bare name where the system's loader found it.
  const std::string& path() const { return path_; }
  /// The address of a symbol. Throws a device error where the library has none of that name.
  void* symbol(const char* symbol) const;

  template <typename Function>
  void resolve(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  bool load(const std::string& candidate);

  std::string name_;
  std::string path_;
  void* handle_ = nullptr;
};

}  // namespace castline
