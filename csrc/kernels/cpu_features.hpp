// Which instruction set the kernels use on this machine.
//
// A kernel is written once per level in a file of its own, named *_avx2.cpp or *_avx512.cpp and compiled
// for that level only (CMakeLists.txt beside this file); callers pick by cpu_level(). Such a file must not
// instantiate inline or template functions of other headers, the standard library included: the linker
// keeps one copy of those, and it may be the one that an older processor cannot run.
#pragma once

#include <string_view>

namespace castline::kernels {

/// Ordered: a machine that has a level has all the lower ones.
enum class CpuLevel {
  scalar,  ///< what every processor of the architecture has
  avx2,    ///< AVX2, FMA, F16C
  avx512,  ///< AVX-512 F, BW, DQ, VL and VNNI
};

/// The name of a level as CASTLINE_CPU takes it: scalar, avx2, avx512.
std::string_view cpu_level_name(CpuLevel level);

/// The highest level that the processor and the operating system support.
CpuLevel detected_cpu_level();

/// The level to use: the detected one, or the lower one that the environment variable CASTLINE_CPU names.
/// Throws a usage error for another name, a device error for a level that the machine lacks.
CpuLevel cpu_level();

}  // namespace castline::kernels
