#include "kernels/quantize/gptq_rows.inl"

namespace castline::kernels {

const GptqRows kGptqScalar = round_rows;

}  // namespace castline::kernels
