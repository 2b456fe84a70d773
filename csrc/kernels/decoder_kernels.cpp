#include "kernels/decoder_kernels.hpp"

#include <string>

#include "base/error.hpp"
#include "kernels/decoder_levels.hpp"

namespace castline::kernels {

const DecoderKernels& decoder_kernels(CpuLevel level) {
  const DecoderKernels* table = kDecoderScalar;
  if (level == CpuLevel::avx2) table = kDecoderAvx2;
  if (level == CpuLevel::avx512) table = kDecoderAvx512;
  if (table == nullptr) {
    throw_device("[kernels] expected a level of this architecture, but got " +
                 std::string(cpu_level_name(level)));
  }
  return *table;
}

}  // namespace castline::kernels
