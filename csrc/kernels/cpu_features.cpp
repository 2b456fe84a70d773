#include "kernels/cpu_features.hpp"

#include <cstdlib>
#include <string>

#include "base/error.hpp"

namespace castline::kernels {

std::string_view cpu_level_name(CpuLevel level) {
  switch (level) {
    case CpuLevel::scalar:
      return "scalar";
    case CpuLevel::avx2:
      return "avx2";
    case CpuLevel::avx512:
      return "avx512";
  }
  return "unknown";
}

CpuLevel detected_cpu_level() {
#if defined(__x86_64__)
  // The builtins also ask the operating system whether it saves the wide registers (XGETBV).
  static const CpuLevel level = [] {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("f16c")) {
      return CpuLevel::scalar;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
      return CpuLevel::avx512;
    }
    return CpuLevel::avx2;
  }();
  return level;
#else
  return CpuLevel::scalar;
#endif
}

CpuLevel cpu_level() {
  const CpuLevel detected = detected_cpu_level();
  const char* name = std::getenv("CASTLINE_CPU");
  if (name == nullptr || *name == '\0') return detected;
  for (const CpuLevel level : {CpuLevel::scalar, CpuLevel::avx2, CpuLevel::avx512}) {
    if (cpu_level_name(level) != name) continue;
    if (level > detected) {
      throw_device("[CASTLINE_CPU] expected a level that this machine has, at most " +
                   std::string(cpu_level_name(detected)) + ", but got " + name);
    }
    return level;
  }
  throw_usage("[CASTLINE_CPU] expected scalar, avx2 or avx512, but got '" + std::string(name) + "'");
}

}  // namespace castline::kernels
