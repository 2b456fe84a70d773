// The CUDA kernels' own sources, run on the CPU by the stand-in for the CUDA runtime in simt/: they compute
// what the CPU kernels compute, which Python's tests hold against float64, and the order of the threads does
// not matter. tests/csrc/test_ops_cuda.py compiles the same sources with nvcc, and runs them where a GPU is.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "kernels/cuda/kernels.cu"

using namespace castline::kernels;

namespace {

constexpr std::int64_t kRows = 5;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float value_of(float x) { return x; }
float value_of(BFloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

// An input or output of the kernels. `offset` shifts it, so that 16 bytes at once are out of the question.
template <class T>
class Array {
 public:
  Array(std::int64_t count, std::int64_t offset) : offset_(offset), values_(count + offset + kSpare) {}

  static Array drawn(std::int64_t count, std::int64_t offset, std::mt19937& random) {
    std::normal_distribution<float> normal(0.0F, 2.0F);
    Array array(count, offset);
    for (T& x : array.values_) castline::kernels::cuda::narrow(normal(random), x);
    return array;
  }

  T* data() { return values_.data() + offset_; }
  const std::vector<T>& all() const { return values_; }

 private:
  static constexpr std::int64_t kSpare = 8;  // behind the end, and compared like the rest
  std::int64_t offset_;
  std::vector<T> values_;
};

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T>
bool near(const std::vector<T>& got, const std::vector<T>& expected) {
  const float tolerance = sizeof(T) == sizeof(float) ? 2e-6F : 8e-3F;
  float scale = 1.0F;
  for (const T& x : expected) scale = std::max(scale, std::abs(value_of(x)));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(value_of(got[i]) - value_of(expected[i])) <= tolerance * scale)) return false;
  }
  return got.size() == expected.size();
}

// Everything that the kernels write.
template <class T>
struct Outputs {
  std::vector<std::vector<T>> values;
  std::vector<std::vector<float>> floats;
};

template <class T>
Outputs<T> run_all(const TrainingKernels<T>& kernels, std::int64_t size, std::int64_t offset) {
  std::mt19937 random(static_cast<unsigned>(size));
  const std::int64_t count = kRows * size;
  const auto drawn = [&](std::int64_t n) { return Array<T>::drawn(n, offset, random); };
  Outputs<T> out;
  const auto keep = [&](auto&... arrays) { (out.values.push_back(arrays.all()), ...); };
  const auto keep_floats = [&](auto&... arrays) { (out.floats.push_back(arrays.all()), ...); };
  const auto empty = [&](std::int64_t n) { return Array<T>(n, offset); };

  auto x = drawn(count), residual = drawn(count), weight = drawn(size), g = drawn(count), more = drawn(count);
  auto y = empty(count), total = empty(count), dx = empty(count);
  Array<float> inverse_rms(kRows, offset), dweight(3 * size, offset);
  kernels.rms_norm(x.data(), nullptr, weight.data(), 1e-5F, y.data(), nullptr, inverse_rms.data(), kRows,
                   size);
  keep(y);
  keep_floats(inverse_rms);
  kernels.rms_norm(x.data(), residual.data(), weight.data(), 1e-5F, y.data(), total.data(),
                   inverse_rms.data(), kRows, size);
  keep(y, total);
  keep_floats(inverse_rms);
  for (T* of_total : {static_cast<T*>(nullptr), more.data()}) {
    kernels.rms_norm_backward(g.data(), of_total, x.data(), weight.data(), inverse_rms.data(), dx.data(),
                              dweight.data(), kRows, size, 2);
    keep(dx);
    keep_floats(dweight);
  }

  // gate and up as the halves of one tensor, dense gradients.
  auto pair = drawn(2 * count);
  auto dgate = empty(count), dup = empty(count);
  kernels.swiglu(pair.data(), 2 * size, pair.data() + size, 2 * size, y.data(), kRows, size);
  keep(y);
  kernels.swiglu_backward(g.data(), pair.data(), 2 * size, pair.data() + size, 2 * size, dgate.data(),
                          dup.data(), nullptr, kRows, size);
  keep(dgate, dup);
  kernels.swiglu_backward(g.data(), pair.data(), 2 * size, pair.data() + size, 2 * size, dgate.data(),
                          dup.data(), g.data(), kRows, size);
  keep(g);

  // q of packed q, k and v, two groups of three heads: [rows, 2, 5, 2 · size].
  const Heads heads{2, 3, 2 * size};
  const HeadStrides packed{20 * size, 10 * size, 2 * size};
  const HeadStrides alone{12 * size, 6 * size, 2 * size};
  auto qkv = drawn(20 * count);
  auto q = empty(12 * count);
  auto cos = Array<float>::drawn(count, offset, random), sin = Array<float>::drawn(count, offset, random);
  for (const float direction : {1.0F, -1.0F}) {
    kernels.rope(qkv.data(), packed, heads, cos.data(), sin.data(), direction, q.data(), alone, kRows);
    keep(q);
  }
  kernels.copy_heads(qkv.data(), packed, heads, q.data(), alone, kRows);
  keep(q);
  return out;
}

template <class T>
void test_table(const TrainingKernels<T> LevelKernels::* member) {
  for (const std::int64_t size : {1, 3, 16, 17, 127, 512, 1100, 2064}) {
    const Outputs<T> expected = run_all(training_kernels(CpuLevel::scalar).*member, size, 0);
    for (const std::int64_t offset : {0, 1}) {
      castline::simt::last_thread_first = false;
      const Outputs<T> got = run_all(cuda::kTraining.*member, size, offset);
      castline::simt::last_thread_first = true;
      const Outputs<T> other = run_all(cuda::kTraining.*member, size, offset);
      const Outputs<T> reference =
          offset == 0 ? expected : run_all(training_kernels(CpuLevel::scalar).*member, size, offset);
      for (std::size_t i = 0; i < expected.values.size(); ++i) {
        CHECK(near(got.values[i], reference.values[i]));
        CHECK(same(got.values[i], other.values[i]));
      }
      for (std::size_t i = 0; i < expected.floats.size(); ++i) {
        CHECK(near(got.floats[i], reference.floats[i]));
        CHECK(same(got.floats[i], other.floats[i]));
      }
    }
  }
}

std::vector<float> losses_and_logits(const FloatKernels& kernels, std::vector<float> logits, bool gradient,
                                     std::vector<std::int64_t> targets, std::int64_t offset) {
  const auto rows = static_cast<std::int64_t>(targets.size());
  const auto size = static_cast<std::int64_t>(logits.size()) / rows;
  logits.insert(logits.begin(), static_cast<std::size_t>(offset), 0.0F);
  std::vector<float> losses(targets.size(), -1.0F);
  kernels.cross_entropy(logits.data() + offset, targets.data(), -100, gradient, losses.data(), rows, size);
  logits.insert(logits.end(), losses.begin(), losses.end());
  return logits;
}

void test_loss() {
  const FloatKernels& cpu = training_kernels(CpuLevel::scalar).floats;
  for (const std::int64_t size : {1, 3, 64, 65, 1000, 1500}) {
    for (const bool gradient : {false, true}) {
      for (const std::int64_t offset : {0, 1}) {
        std::mt19937 random(static_cast<unsigned>(size));
        const auto logits = Array<float>::drawn(3 * size - 8, 0, random).all();
        const std::vector<std::int64_t> targets = {0, -100, size - 1};
        const auto expected = losses_and_logits(cpu, logits, gradient, targets, offset);
        castline::simt::last_thread_first = false;
        const auto got = losses_and_logits(cuda::kTraining.floats, logits, gradient, targets, offset);
        castline::simt::last_thread_first = true;
        CHECK(near(got, expected));
        CHECK(same(got, losses_and_logits(cuda::kTraining.floats, logits, gradient, targets, offset)));
      }
    }
  }
}

// Forbidden logits (-inf), certain ones, a NaN, and targets out of range, which the host cannot see.
void test_loss_values() {
  const auto loss_of = [](std::vector<float> logits, std::int64_t target) {
    return losses_and_logits(cuda::kTraining.floats, std::move(logits), true, {target}, 0);
  };
  const auto even = loss_of({-kInfinity, 2.0F, 2.0F}, 1);
  CHECK(even[0] == 0.0F && even[2] == 0.5F && std::abs(even[3] - std::log(2.0F)) < 1e-6F);
  CHECK(loss_of({-1000.0F, 1000.0F, 0.0F}, 1)[3] == 0.0F);
  CHECK(loss_of({0.0F, -kInfinity}, 1)[2] == kInfinity);
  CHECK(std::isnan(loss_of({0.0F, 1.0F, std::nanf("")}, 1)[3]));
  CHECK(std::isnan(loss_of({0.0F, 1.0F, 2.0F}, 3)[3]));
  CHECK(std::isnan(loss_of({0.0F, 1.0F, 2.0F}, -1)[3]));
}

void test_sums() {
  std::mt19937 random(1);
  for (const std::int64_t size : {1, 255, 700}) {
    auto parts = Array<float>::drawn(4 * size, 0, random);
    Array<float> got(size, 0), expected(size, 0), all(2, 0);
    cuda::kTraining.floats.sum_rows(parts.data(), 4, size, got.data());
    training_kernels(CpuLevel::scalar).floats.sum_rows(parts.data(), 4, size, expected.data());
    CHECK(same(got.all(), expected.all()));
    cuda::kTraining.floats.sum(parts.data(), 4 * size, all.data());
    training_kernels(CpuLevel::scalar).floats.sum(parts.data(), 4 * size, all.data() + 1);
    CHECK(std::abs(all.data()[0] - all.data()[1]) <= 1e-6F * std::abs(all.data()[1]));
    cuda::accumulate(parts.data(), got.data(), size, false);
    cuda::accumulate(parts.data() + size, got.data(), size, true);
    CHECK(got.data()[size - 1] == parts.data()[size - 1] + parts.data()[2 * size - 1]);
  }
  float none = -1.0F;
  cuda::kTraining.floats.sum(nullptr, 0, &none);
  CHECK(none == 0.0F);
}

void test_limits() {
  const auto& kernels = cuda::kTraining.f32;
  kernels.swiglu(nullptr, 4, nullptr, 4, nullptr, 0, 4);  // no rows, no launch
  CHECK_THROWS(kernels.swiglu(nullptr, 1, nullptr, 1, nullptr, std::int64_t{1} << 31, 1),
               "[swiglu] a CUDA grid has at most 2147483647 x 65535 blocks, but got 2147483648 x 1");
  const Heads wide{1, 1, std::int64_t{1} << 32};
  CHECK_THROWS(kernels.copy_heads(nullptr, {}, wide, nullptr, {}, 1), "less than 2^31 elements");
}

}  // namespace

int main() {
  cuda::use(0, nullptr);
  test_table(&LevelKernels::f32);
  test_table(&LevelKernels::bf16);
  test_loss();
  test_loss_values();
  test_sums();
  test_limits();
  return castline::test::finish();
}
