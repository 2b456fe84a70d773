#include <cmath>

#include "kernels/gemm/pack.hpp"
#include "kernels/gemm/tile.hpp"

namespace castline::kernels {
namespace {

struct Vector {
  static constexpr int kWidth = 1;
  float v;

  static Vector all(float x) { return {x}; }
  static Vector load(const float* p) { return {*p}; }
  void store(float* p) const { *p = v; }
  void add(Vector x) { v += x.v; }
  void add_product(Vector x, Vector y) { v = std::fma(x.v, y.v, v); }
};

}  // namespace

const GemmLevel kGemmScalar = {4, 4, pack<float>, pack<BFloat16>, multiply<Vector, 4, 4>};

}  // namespace castline::kernels
