// The core's one exception. Messages read `[where] rule, but got value`.
#pragma once

#include <stdexcept>
#include <string>

namespace castline {

/// What went wrong, as the C API's status codes and Python's error tree name it.
enum class ErrorKind {
  usage,   ///< the caller passed something it may not pass
  data,    ///< bytes from outside (text, tokenizer, package) are not what they should be
  device,  ///< the machine lacks something: memory, a file, a GPU, a library
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

[[noreturn]] void throw_usage(const std::string& message);
[[noreturn]] void throw_data(const std::string& message);
[[noreturn]] void throw_device(const std::string& message);

}  // namespace castline
