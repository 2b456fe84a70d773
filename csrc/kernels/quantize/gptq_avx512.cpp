#if defined(__x86_64__)
#include "kernels/quantize/gptq_rows.inl"

namespace castline::kernels {

const GptqRows kGptqAvx512 = round_rows;

}  // namespace castline::kernels
#endif
