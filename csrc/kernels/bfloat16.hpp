// bfloat16 as storage: the upper half of a float32. Kernels compute in float32 and round once.
#pragma once

#include <cstdint>

namespace castline::kernels {

struct BFloat16 {
  std::uint16_t bits;
};

}  // namespace castline::kernels
