// The training kernels: the same bits at every level, and the right values where the formula has a closed
// end. Python's tests (tests/csrc/test_ops.py) hold them against float64 twins.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "kernels/training/kernels.hpp"

using namespace castline::kernels;

namespace {

constexpr std::int64_t kRows = 3;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class T>
std::vector<T> draw(std::int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0F, 3.0F);
  std::vector<T> out(static_cast<std::size_t>(count));
  for (T& x : out) {
    const float value = normal(random);
    if constexpr (sizeof(T) == sizeof(float)) {
      x = value;
    } else {
      std::uint32_t raw;
      std::memcpy(&raw, &value, sizeof raw);
      x.bits = static_cast<std::uint16_t>(raw >> 16);
    }
  }
  return out;
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Everything that the kernels write for one input.
template <class T>
struct Outputs {
  std::vector<T> values;
  std::vector<float> floats;
};

template <class T>
Outputs<T> run_all(const TrainingKernels<T>& kernels, std::int64_t size) {
  std::mt19937 random(static_cast<unsigned>(size));
  const std::int64_t count = kRows * size;
  const auto x = draw<T>(count, random);
  const auto residual = draw<T>(count, random);
  const auto weight = draw<T>(size, random);
  const auto cos = draw<float>(count, random);
  const auto sin = draw<float>(count, random);
  Outputs<T> out{std::vector<T>(static_cast<std::size_t>(10 * count)),
                 std::vector<float>(static_cast<std::size_t>(2 * kRows + 2 * size))};
  T* y = out.values.data();
  float* inverse_rms = out.floats.data();
  kernels.rms_norm(x.data(), nullptr, weight.data(), 1e-5F, y, nullptr, inverse_rms, kRows, size);
  kernels.rms_norm(x.data(), residual.data(), weight.data(), 1e-5F, y + count, y + 2 * count,
                   inverse_rms + kRows, kRows, size);
  kernels.rms_norm_backward(residual.data(), x.data(), x.data(), weight.data(), inverse_rms, y + 3 * count,
                            out.floats.data() + 2 * kRows, kRows, size, 2);
  kernels.swiglu(x.data(), size, residual.data(), size, y + 4 * count, kRows, size);
  kernels.swiglu_backward(residual.data(), x.data(), size, x.data(), size, y + 5 * count, y + 6 * count,
                          y + 9 * count, kRows, size);
  const Heads heads{1, 1, 2 * size};
  const HeadStrides strides{2 * size, 0, 0};
  std::vector<T> pairs = x;
  pairs.insert(pairs.end(), residual.begin(), residual.end());
  kernels.rope(pairs.data(), strides, heads, cos.data(), sin.data(), -1.0F, y + 7 * count, strides, kRows);
  return out;
}

template <class T>
void test_levels(const TrainingKernels<T> LevelKernels::* member) {
  for (const std::int64_t size : {1, 3, 15, 16, 17, 127, 512}) {
    const Outputs<T> expected = run_all(training_kernels(CpuLevel::scalar).*member, size);
    for (const CpuLevel level : {CpuLevel::avx2, CpuLevel::avx512}) {
      if (level > detected_cpu_level()) continue;
      const Outputs<T> got = run_all(training_kernels(level).*member, size);
      CHECK(same(got.values, expected.values));
      CHECK(same(got.floats, expected.floats));
    }
  }
}

void test_loss_levels() {
  for (const std::int64_t size : {1, 3, 15, 17, 64, 65, 127, 1000}) {
    for (const bool gradient : {false, true}) {
      std::mt19937 random(static_cast<unsigned>(size));
      const auto given = draw<float>(kRows * size, random);
      const std::vector<std::int64_t> targets = {0, -100, size - 1};
      std::vector<float> first;
      for (const CpuLevel level : {CpuLevel::scalar, CpuLevel::avx2, CpuLevel::avx512}) {
        if (level > detected_cpu_level()) continue;
        auto logits = given;
        std::vector<float> losses(kRows, -1.0F);
        training_kernels(level).floats.cross_entropy(logits.data(), targets.data(), -100, gradient,
                                                     losses.data(), kRows, size);
        CHECK(losses[1] == 0.0F);
        CHECK(gradient || same(logits, given));
        logits.insert(logits.end(), losses.begin(), losses.end());
        if (first.empty()) first = logits;
        CHECK(same(logits, first));
      }
    }
  }
}

// Extremes: equal logits, a certain one, forbidden ones (-inf), a NaN.
void test_loss_values() {
  const std::int64_t target[] = {1};
  const auto loss_of = [&](std::vector<float> logits, std::vector<float>* gradient) {
    float loss = -1.0F;
    training_kernels(detected_cpu_level())
        .floats.cross_entropy(logits.data(), target, -100, gradient != nullptr, &loss, 1,
                              static_cast<std::int64_t>(logits.size()));
    if (gradient != nullptr) *gradient = logits;
    return loss;
  };
  std::vector<float> gradient;
  CHECK(std::abs(loss_of(std::vector<float>(100, 5.0F), &gradient) - std::log(100.0F)) < 1e-5F);
  CHECK(std::abs(gradient[0] - 0.01F) < 1e-7F && std::abs(gradient[1] + 0.99F) < 1e-6F);
  CHECK(loss_of({-1000.0F, 1000.0F, 0.0F}, &gradient) == 0.0F);
  CHECK(gradient[0] == 0.0F && gradient[1] == 0.0F && gradient[2] == 0.0F);
  CHECK(loss_of({1000.0F, -1000.0F}, nullptr) == 2000.0F);
  CHECK(std::abs(loss_of({-kInfinity, 2.0F, 2.0F}, &gradient) - std::log(2.0F)) < 1e-6F);
  CHECK(gradient[0] == 0.0F);
  CHECK(loss_of({0.0F, -kInfinity}, nullptr) == kInfinity);
  CHECK(std::isnan(loss_of({0.0F, 1.0F, std::nanf("")}, &gradient)));
}

// exp, through swiglu with up = 1: silu(x) = x / (1 + e^-x) within two units of the last place.
void test_silu() {
  const auto& kernels = training_kernels(detected_cpu_level()).f32;
  std::vector<float> x;
  for (float v = -80.0F; v < 100.0F; v += 0.0137F) x.push_back(v);
  x.insert(x.end(), {0.0F, -0.0F, 1e-30F, kInfinity});
  const std::vector<float> ones(x.size(), 1.0F);
  std::vector<float> y(x.size());
  const auto size = static_cast<std::int64_t>(x.size());
  kernels.swiglu(x.data(), size, ones.data(), size, y.data(), 1, size);
  double worst = 0.0;
  for (std::size_t i = 0; i + 4 < x.size(); ++i) {
    const double expected = x[i] / (1.0 + std::exp(-static_cast<double>(x[i])));
    worst = std::max(worst, std::abs(y[i] - expected) / std::abs(expected));
  }
  CHECK(worst < 3e-7);
  CHECK(y[x.size() - 4] == 0.0F && y[x.size() - 3] == 0.0F);
  CHECK(std::abs(y[x.size() - 2] - 5e-31F) < 1e-36F);
  CHECK(y[x.size() - 1] == kInfinity);
}

// Rounding to bfloat16 is to the nearest, ties to even; NaN stays NaN.
void test_rounding() {
  const auto round_bits = [](std::uint32_t raw) {
    // The one kernel through which a float32 of choice reaches bfloat16 storage: x = 1 turned by cos = value.
    float value;
    std::memcpy(&value, &raw, sizeof value);
    const BFloat16 x[2] = {{0x3F80}, {0}};
    const float zero = 0.0F;
    BFloat16 y[2];
    const Heads heads{1, 1, 2};
    const HeadStrides strides{2, 0, 0};
    std::vector<std::uint16_t> all;
    for (const CpuLevel level : {CpuLevel::scalar, CpuLevel::avx2, CpuLevel::avx512}) {
      if (level > detected_cpu_level()) continue;
      training_kernels(level).bf16.rope(x, strides, heads, &value, &zero, 1.0F, y, strides, 1);
      all.push_back(y[0].bits);
    }
    for (const std::uint16_t bits : all) CHECK(bits == all[0]);
    return all[0];
  };
  CHECK(round_bits(0x3F800000) == 0x3F80);
  CHECK(round_bits(0x3F808000) == 0x3F80);  // a tie, to even
  CHECK(round_bits(0x3F818000) == 0x3F82);  // a tie, to even
  CHECK(round_bits(0x3F808001) == 0x3F81);
  CHECK(round_bits(0x7F7FFFFF) == 0x7F80);  // rounds up to infinity
  CHECK(round_bits(0x7F800001) == 0x7FC0);
}

}  // namespace

int main() {
  test_levels(&LevelKernels::f32);
  test_levels(&LevelKernels::bf16);
  test_loss_levels();
  test_loss_values();
  test_silu();
  test_rounding();
  return castline::test::finish();
}
