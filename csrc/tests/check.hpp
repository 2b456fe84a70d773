// The few lines the C++ tests need: CHECK, CHECK_THROWS and a counting main.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace castline::test {

inline int failures = 0;
inline int checks = 0;

inline void report(bool ok, const char* expression, const char* file, int line) {
  ++checks;
  if (!ok) {
    ++failures;
    std::fprintf(stderr, "%s:%d: CHECK(%s) failed\n", file, line, expression);
  }
}

/// Prints the count and gives main's exit status: non-zero on a failure or when nothing was checked.
inline int finish() {
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 && checks > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace castline::test

#define CHECK(expression) \
  ::castline::test::report(static_cast<bool>(expression), #expression, __FILE__, __LINE__)

// The statement throws a std::exception whose message holds `part`.
#define CHECK_THROWS(statement, part)                                                 \
  do {                                                                                \
    std::string message_ = "(nothing was thrown)";                                    \
    try {                                                                             \
      statement;                                                                      \
    } catch (const std::exception& e_) {                                              \
      message_ = e_.what();                                                           \
    }                                                                                 \
    const bool found_ = message_.find(part) != std::string::npos;                     \
    if (!found_) std::fprintf(stderr, "message was: %s\n", message_.c_str());         \
    ::castline::test::report(found_, #statement " throws " part, __FILE__, __LINE__); \
  } while (false)
