// CASTLINE_CPU picks a level, and a wrong value is an error that says what is possible.
#include <cstdlib>
#include <string>

#include "check.hpp"
#include "kernels/cpu_features.hpp"

using castline::kernels::cpu_level;
using castline::kernels::cpu_level_name;
using castline::kernels::CpuLevel;
using castline::kernels::detected_cpu_level;

int main() {
  ::unsetenv("CASTLINE_CPU");
  CHECK(cpu_level() == detected_cpu_level());
  for (const CpuLevel level : {CpuLevel::scalar, CpuLevel::avx2, CpuLevel::avx512}) {
    ::setenv("CASTLINE_CPU", std::string(cpu_level_name(level)).c_str(), 1);
    if (level <= detected_cpu_level()) {
      CHECK(cpu_level() == level);
    } else {
      CHECK_THROWS(cpu_level(), "this machine has");
    }
  }
  ::setenv("CASTLINE_CPU", "sse9", 1);
  CHECK_THROWS(cpu_level(), "'sse9'");
  return castline::test::finish();
}
