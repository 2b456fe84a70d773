#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/gemm/pack.hpp"
#include "kernels/gemm/tile.hpp"

namespace castline::kernels {
namespace {

struct Vector {
  static constexpr int kWidth = 8;
  __m256 v;

  static Vector all(float x) { return {_mm256_set1_ps(x)}; }
  static Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void add(Vector x) { v = _mm256_add_ps(v, x.v); }
  void add_product(Vector x, Vector y) { v = _mm256_fmadd_ps(x.v, y.v, v); }
};

}  // namespace

const GemmLevel kGemmAvx2 = {6, 2 * Vector::kWidth, pack<float>, pack<BFloat16>, multiply<Vector, 6, 2>};

}  // namespace castline::kernels
#endif
