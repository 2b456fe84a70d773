#include "base/error.hpp"

namespace castline {

void throw_usage(const std::string& message) { throw Error(ErrorKind::usage, message); }
void throw_data(const std::string& message) { throw Error(ErrorKind::data, message); }
void throw_device(const std::string& message) { throw Error(ErrorKind::device, message); }

}  // namespace castline
