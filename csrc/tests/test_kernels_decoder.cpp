// Every decoder kernel at every level of this machine against plain double arithmetic, over random shapes;
// and the promise that a result does not depend on how many rows or channels one call covers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "check.hpp"
#include "kernels/decoder_kernels.hpp"

using namespace castline::kernels;

namespace {

using Floats = std::vector<float>;

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  Floats floats(std::size_t n, float spread = 1.0F) {
    std::normal_distribution<float> normal(0.0F, spread);
    Floats values(n);
    for (float& v : values) v = normal(engine_);
    return values;
  }
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(engine_); }

 private:
  std::mt19937 engine_;
};

// The largest |found - expected| in units of the tolerance.
bool close(const Floats& found, const std::vector<double>& expected, const std::vector<double>& tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!(std::fabs(found[i] - expected[i]) <= tolerance[i])) {
      std::fprintf(stderr, "element %zu: expected %.9g +- %.2g, got %.9g\n", i, expected[i], tolerance[i],
                   static_cast<double>(found[i]));
      return false;
    }
  }
  return true;
}

bool same_bits(const float* a, const float* b, std::size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}

struct Shape {
  std::size_t rows, channels, size;
};

std::vector<Shape> shapes(Random& random) {
  std::vector<Shape> all = {{1, 1, 1},   {1, 4, 1024},  {1, 5, 1025},    {2, 3, 17},    {7, 9, 31},
                            {6, 68, 64}, {13, 67, 100}, {20, 130, 2049}, {1, 200, 576}, {3, 1, 3000}};
  for (int i = 0; i < 20; ++i)
    all.push_back({1 + random.below(30), 1 + random.below(80), 1 + random.below(1300)});
  return all;
}

// Random bits of a 16-bit float with so many bits of fraction, once in a while a subnormal one, and the
// value.
struct SmallFloat {
  std::uint16_t bits;
  double value;

  SmallFloat(Random& random, unsigned fraction_bits) {
    const std::size_t bias = (std::size_t{1} << (14U - fraction_bits)) - 1;
    const std::size_t exponent = random.below(50) == 0 ? 0 : bias - 12 + random.below(14);
    const std::size_t fraction = random.below(std::size_t{1} << fraction_bits);
    const bool negative = random.below(2) == 1;
    bits = static_cast<std::uint16_t>((negative ? 0x8000U : 0U) | exponent << fraction_bits | fraction);
    const double significand = std::ldexp(static_cast<double>(fraction), -static_cast<int>(fraction_bits));
    const double magnitude =
        std::ldexp(exponent == 0 ? significand : 1.0 + significand,
                   static_cast<int>(exponent == 0 ? 1 : exponent) - static_cast<int>(bias));
    value = negative ? -magnitude : magnitude;
  }
};

// A product with float weights of any width; weights(n) makes so many and says what they are worth.
template <typename Element, typename Make>
void test_matmul_float(void (*matmul)(const float*, std::size_t, const Element*, std::size_t, std::size_t,
                                      float*, std::size_t),
                       const Make& make) {
  Random random(1);
  for (const auto& [rows, channels, size] : shapes(random)) {
    const Floats x = random.floats(rows * size);
    std::vector<Element> w(channels * size);
    std::vector<double> values(w.size());
    for (std::size_t i = 0; i < w.size(); ++i) make(random, w[i], values[i]);
    const std::size_t stride = channels + random.below(3);
    Floats y(rows * stride, -7.0F);
    matmul(x.data(), rows, w.data(), channels, size, y.data(), stride);
    std::vector<double> expected(y.begin(), y.end());
    std::vector<double> tolerance(y.size(), 0.0);  // what lies between the rows stays as it was
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < channels; ++c) {
        double sum = 0.0;
        double magnitude = 0.0;
        for (std::size_t i = 0; i < size; ++i) {
          const double product = x[r * size + i] * values[c * size + i];
          sum += product;
          magnitude += std::fabs(product);
        }
        expected[r * stride + c] = sum;
        // Errors of a sum in lanes grow with the number of additions per lane.
        tolerance[r * stride + c] =
            magnitude * 6e-8 * (8.0 + static_cast<double>(std::min(size, kDotBlock)) / 8);
      }
    }
    CHECK(close(y, expected, tolerance));
    // One row, and a slice of the channels, give the same bits.
    const std::size_t row = random.below(rows);
    const std::size_t from = random.below(channels);
    Floats part(channels - from);
    matmul(x.data() + row * size, 1, w.data() + from * size, part.size(), size, part.data(), part.size());
    CHECK(same_bits(part.data(), y.data() + row * stride + from, part.size()));
  }
}

void test_matmul_floats(const DecoderKernels& kernels) {
  test_matmul_float(kernels.matmul_f32, [](Random& random, float& w, double& value) {
    w = random.floats(1).front();
    value = w;
  });
  const auto small = [](unsigned fraction_bits) {
    return [fraction_bits](Random& random, std::uint16_t& w, double& value) {
      const SmallFloat made(random, fraction_bits);
      w = made.bits;
      value = made.value;
    };
  };
  test_matmul_float(kernels.matmul_f16, small(10));
  test_matmul_float(kernels.matmul_bf16, small(7));
}

void test_quantize(const DecoderKernels& kernels) {
  Random random(2);
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{15}, std::size_t{1024}, std::size_t{1030}, std::size_t{2100}}) {
    const std::size_t rows = 3;
    const std::size_t blocks = dot_blocks(size);
    Floats x = random.floats(rows * size, 3.0F);
    std::fill_n(x.begin(), std::min(size, kDotBlock), 0.0F);           // a block of zeros
    for (std::size_t i = 0; i < size; ++i) x[2 * size + i] *= 1e-43F;  // subnormal
    std::vector<std::int16_t> q(x.size());
    Floats scale(rows * blocks);
    kernels.quantize(x.data(), rows, size, q.data(), scale.data());
    for (std::size_t r = 1; r < 2; ++r) {
      for (std::size_t i = 0; i < size; ++i) {
        const double unit = scale[r * blocks + i / kDotBlock];
        CHECK(std::abs(q[r * size + i]) <= kActivationMax);
        CHECK(std::fabs(q[r * size + i] * unit - x[r * size + i]) <= 0.501 * unit);
      }
    }
    CHECK(std::all_of(q.begin(), q.begin() + static_cast<std::ptrdiff_t>(std::min(size, kDotBlock)),
                      [](std::int16_t v) { return v == 0; }));
    CHECK(scale[0] == 0.0F);
    for (const std::int16_t v : q) CHECK(std::abs(v) <= kActivationMax);
  }
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Floats x(20, 1.0F);
    x[17] = bad;
    std::vector<std::int16_t> q(x.size());
    float scale = 0.0F;
    kernels.quantize(x.data(), 1, x.size(), q.data(), &scale);
    CHECK(std::isnan(scale));
  }
}

// Integer products are exact: the result is one float expression per block, the same on every level.
void test_matmul_i8(const DecoderKernels& kernels) {
  Random random(3);
  for (const auto& [rows, channels, size] : shapes(random)) {
    const std::size_t blocks = dot_blocks(size);
    std::vector<std::int16_t> x(rows * size);
    std::vector<std::int8_t> w(channels * size);
    const bool extreme = random.below(4) == 0;  // the largest sums that may occur
    for (auto& v : x) {
      v = static_cast<std::int16_t>(
          extreme ? kActivationMax : static_cast<int>(random.below(2 * kActivationMax + 1)) - kActivationMax);
    }
    for (auto& v : w) v = static_cast<std::int8_t>(extreme ? 127 : static_cast<int>(random.below(255)) - 127);
    Floats x_scale = random.floats(rows * blocks);
    Floats w_scale = random.floats(channels);
    Floats y(rows * channels);
    kernels.matmul_i8(x.data(), x_scale.data(), rows, w.data(), w_scale.data(), channels, size, y.data(),
                      channels);
    bool equal = true;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < channels; ++c) {
        float sum = 0.0F;
        for (std::size_t b = 0; b < blocks; ++b) {
          std::int64_t products = 0;
          for (std::size_t i = b * kDotBlock; i < std::min(size, (b + 1) * kDotBlock); ++i) {
            products += std::int64_t{x[r * size + i]} * w[c * size + i];
          }
          const float part = static_cast<float>(products) * x_scale[r * blocks + b];
          sum = b == 0 ? part : sum + part;
        }
        equal = equal && y[r * channels + c] == sum * w_scale[c];
      }
    }
    CHECK(equal);
  }
}

// Random int4 weights, packed as Int4Matrix describes, with what they stand for.
struct Int4Weights {
  std::vector<std::uint8_t> q, zero;
  std::vector<std::uint16_t> scale;
  std::vector<double> values;  // [channels, size]
  Int4Matrix matrix;

  Int4Weights(Random& random, std::size_t channels, std::size_t size, std::size_t block, bool extreme) {
    const std::size_t groups = round_up(channels, kInt4Group) / kInt4Group;
    const std::size_t blocks = size / kInt4Block;
    q.resize(groups * blocks * kInt4BlockBytes);
    scale.resize(groups * ((size + block - 1) / block) * kInt4Group);
    zero.resize(scale.size());
    values.resize(channels * size);
    for (std::size_t c = 0; c < channels; ++c) {
      for (std::size_t i = 0; i < size; ++i) {
        const std::size_t at =
            (c / kInt4Group * ((size + block - 1) / block) + i / block) * kInt4Group + c % kInt4Group;
        if (i % block == 0) {
          // float16 from 2^-14 on: exponent and fraction at random, once in a while a subnormal one.
          const std::size_t exponent = random.below(20) == 0 ? 0 : 1 + random.below(20);
          scale[at] = static_cast<std::uint16_t>(exponent << 10U | random.below(1024));
          zero[at] = static_cast<std::uint8_t>(extreme ? 0 : random.below(16));
        }
        const std::size_t nibble = extreme ? 15 : random.below(16);
        const std::size_t j = i % kInt4Block / 8;
        const std::size_t byte = (c / kInt4Group * blocks + i / kInt4Block) * kInt4BlockBytes +
                                 j * 4 * kInt4Group + c % kInt4Group * 4 + i % 4;
        q[byte] = static_cast<std::uint8_t>(q[byte] | nibble << (i % 8 < 4 ? 0U : 4U));
        const int exponent = scale[at] >> 10;
        const int fraction = scale[at] & 1023;
        const double unit =
            std::ldexp(exponent == 0 ? fraction : fraction + 1024, std::max(exponent, 1) - 25);
        values[c * size + i] = unit * (static_cast<double>(nibble) - zero[at]);
      }
    }
    matrix = {q.data(), scale.data(), zero.data(), size, block};
  }
};

void test_int4(const DecoderKernels& kernels) {
  Random random(7);
  for (int round = 0; round < 30; ++round) {
    const std::size_t block = std::size_t{32} << random.below(3);
    const std::size_t size = kInt4Block * (1 + random.below(40));  // the last block is often short
    const std::size_t rows = 1 + random.below(19);
    const std::size_t channels = 1 + random.below(70);
    const bool extreme = round % 7 == 0;  // the largest sums that may occur
    const Int4Weights weights(random, channels, size, block, extreme);
    const Floats x = extreme ? Floats(rows * size, -2.5F) : random.floats(rows * size, 3.0F);
    const std::size_t blocks = size / kInt4Block;
    std::vector<std::int8_t> q(x.size());
    Floats scale(rows * blocks);
    Floats sum(rows * blocks);
    kernels.quantize_i8(x.data(), rows, size, q.data(), scale.data(), sum.data());
    for (std::size_t at = 0; at < x.size(); ++at) {
      const double unit = scale[at / kInt4Block];
      CHECK(std::abs(q[at]) <= 127);
      CHECK(std::fabs(q[at] * unit - x[at]) <= 0.501 * unit);
    }
    for (std::size_t b = 0; b < sum.size(); ++b) {
      CHECK(sum[b] == static_cast<float>(
                          std::accumulate(q.begin() + static_cast<std::ptrdiff_t>(b * kInt4Block),
                                          q.begin() + static_cast<std::ptrdiff_t>((b + 1) * kInt4Block), 0)));
    }
    const std::size_t stride = channels + random.below(3);
    Floats y(rows * stride, -7.0F);
    kernels.matmul_i4(q.data(), scale.data(), sum.data(), rows, weights.matrix, 0, channels, y.data(),
                      stride);
    std::vector<double> expected(y.begin(), y.end());
    std::vector<double> tolerance(y.size(), 0.0);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < channels; ++c) {
        double total = 0.0;
        double magnitude = 0.0;
        for (std::size_t b = 0; b < blocks; ++b) {
          double part = 0.0;  // whole numbers times one unit
          for (std::size_t i = b * kInt4Block; i < (b + 1) * kInt4Block; ++i) {
            part += q[r * size + i] * weights.values[c * size + i];
          }
          total += part * scale[r * blocks + b];
          magnitude += std::fabs(part * scale[r * blocks + b]);
        }
        expected[r * stride + c] = total;
        tolerance[r * stride + c] = magnitude * 6e-8 * (4.0 + static_cast<double>(blocks));
      }
    }
    CHECK(close(y, expected, tolerance));
    // One row, and a slice of the channels, give the same bits.
    const std::size_t row = random.below(rows);
    const std::size_t from = random.below(channels);
    const std::size_t to = from + 1 + random.below(channels - from);
    Floats part(channels, -7.0F);
    kernels.matmul_i4(q.data() + row * size, scale.data() + row * blocks, sum.data() + row * blocks, 1,
                      weights.matrix, from, to, part.data(), channels);
    CHECK(same_bits(part.data() + from, y.data() + row * stride + from, to - from));
    for (std::size_t c = 0; c < channels; ++c) CHECK((c >= from && c < to) || part[c] == -7.0F);
  }
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Floats x(kInt4Block, 1.0F);
    x[17] = bad;
    std::vector<std::int8_t> q(x.size());
    float scale = 0.0F;
    float sum = 0.0F;
    kernels.quantize_i8(x.data(), 1, x.size(), q.data(), &scale, &sum);
    CHECK(std::isnan(scale));
  }
}

void test_small_steps(const DecoderKernels& kernels) {
  Random random(4);
  for (const std::size_t size : {std::size_t{2}, std::size_t{30}, std::size_t{64}, std::size_t{577}}) {
    const Floats x = random.floats(size, 4.0F);
    const Floats w = random.floats(size);
    Floats y(size);
    std::vector<double> expected(size);
    std::vector<double> tolerance(size);

    kernels.rms_norm(x.data(), w.data(), size, 1e-5F, y.data());
    double squares = 0.0;
    for (const float v : x) squares += static_cast<double>(v) * v;
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(size) + 1e-5);
    for (std::size_t i = 0; i < size; ++i) {
      expected[i] = x[i] * factor * w[i];
      tolerance[i] = 2e-6 * std::fabs(expected[i]) + 1e-12;
    }
    CHECK(close(y, expected, tolerance));

    Floats gate = x;
    gate[0] = -200.0F;  // e^200 is no float
    gate[1] = 90.0F;
    for (std::size_t i = 0; i < size; ++i) {
      const double g = gate[i];
      expected[i] = g / (1.0 + std::exp(-g)) * w[i];
      tolerance[i] = 1e-6 * std::fabs(expected[i]) + 1e-30;
    }
    tolerance[0] = 1e-30 + 1e-34;
    kernels.swiglu(gate.data(), w.data(), size);
    CHECK(close(gate, expected, tolerance));

    Floats sum = x;
    kernels.add(sum.data(), w.data(), size);
    bool equal = true;
    for (std::size_t i = 0; i < size; ++i) equal = equal && sum[i] == x[i] + w[i];
    CHECK(equal);

    CHECK(kernels.maximum(x.data(), size) == *std::max_element(x.begin(), x.end()));
    double total = 0.0;
    for (const float v : x) total += std::exp(static_cast<double>(v));
    CHECK(std::fabs(kernels.log_sum_exp(x.data(), size) - std::log(total)) < 2e-6);
  }
  const Floats many = random.floats(49152, 5.0F);
  double total = 0.0;
  for (const float v : many) total += std::exp(static_cast<double>(v));
  CHECK(std::fabs(kernels.log_sum_exp(many.data(), many.size()) - std::log(total)) < 4e-6);
}

void test_rope(const DecoderKernels& kernels) {
  Random random(5);
  for (const std::size_t dim : {std::size_t{2}, std::size_t{22}, std::size_t{64}, std::size_t{128}}) {
    const std::size_t heads = 3;
    const Floats x = random.floats(heads * dim);
    Floats cos(dim / 2);
    Floats sin(dim / 2);
    for (std::size_t i = 0; i < dim / 2; ++i) {
      const double angle = 0.7 * static_cast<double>(i + 1);
      cos[i] = static_cast<float>(std::cos(angle));
      sin[i] = static_cast<float>(std::sin(angle));
    }
    Floats y = x;
    kernels.rope(y.data(), heads, dim, cos.data(), sin.data());
    std::vector<double> expected(x.size());
    const std::vector<double> tolerance(x.size(), 1e-6);
    for (std::size_t h = 0; h < heads; ++h) {
      for (std::size_t i = 0; i < dim / 2; ++i) {
        const double a = x[h * dim + i];
        const double b = x[h * dim + i + dim / 2];
        expected[h * dim + i] = a * cos[i] - b * sin[i];
        expected[h * dim + i + dim / 2] = b * cos[i] + a * sin[i];
      }
    }
    CHECK(close(y, expected, tolerance));
  }
}

// Attention by its definition, in double: keys and values are [positions, dim].
template <typename Cache>
void check_attention(void (*attention)(const AttentionTask&, const Cache&), AttentionTask task,
                     const Cache& cache, const std::vector<double>& keys, const std::vector<double>& values) {
  Floats out(task.positions * task.out_stride, 5.0F);
  Floats scores(task.positions * task.heads * round_up(task.first + task.positions, kKeyBlock));
  task.out = out.data();
  task.scores = scores.data();
  attention(task, cache);
  std::vector<double> expected(out.size(), 5.0);  // what lies between the heads stays as it was
  std::vector<double> tolerance(out.size(), 0.0);
  for (std::size_t row = 0; row < task.positions * task.heads; ++row) {
    const float* query = task.query + row / task.heads * task.query_stride + row % task.heads * task.head_dim;
    const std::size_t to = row / task.heads * task.out_stride + row % task.heads * task.head_dim;
    std::vector<double> weight(task.first + row / task.heads + 1);
    double total = 0.0;
    for (std::size_t p = 0; p < weight.size(); ++p) {
      double dot = 0.0;
      for (std::size_t i = 0; i < task.head_dim; ++i) dot += query[i] * keys[p * task.head_dim + i];
      weight[p] = std::exp(dot * task.scale);
      total += weight[p];
    }
    for (std::size_t i = 0; i < task.head_dim; ++i) {
      double sum = 0.0;
      for (std::size_t p = 0; p < weight.size(); ++p) {
        sum += weight[p] / total * values[p * task.head_dim + i];
      }
      expected[to + i] = sum;
      tolerance[to + i] = 5e-6;
    }
  }
  CHECK(close(out, expected, tolerance));
  // The last head of the last position alone gives the same bits.
  const std::size_t last = (task.positions - 1) * task.query_stride + (task.heads - 1) * task.head_dim;
  Floats alone(task.head_dim);
  AttentionTask one = task;
  one.query += last;
  one.heads = 1;
  one.first += task.positions - 1;
  one.positions = 1;
  one.out = alone.data();
  attention(one, cache);
  const std::size_t at = (task.positions - 1) * task.out_stride + (task.heads - 1) * task.head_dim;
  CHECK(same_bits(alone.data(), out.data() + at, task.head_dim));
}

// [positions, dim] as keys are cached; unused positions may hold any number.
template <typename T>
std::vector<T> key_blocks(const std::vector<T>& keys, std::size_t dim, T unused) {
  const std::size_t positions = keys.size() / dim;
  std::vector<T> blocks(round_up(positions, kKeyBlock) * dim, unused);
  for (std::size_t p = 0; p < positions; ++p) {
    for (std::size_t i = 0; i < dim; ++i) {
      blocks[(p / kKeyBlock * dim + i) * kKeyBlock + p % kKeyBlock] = keys[p * dim + i];
    }
  }
  return blocks;
}

void test_attention(const DecoderKernels& kernels) {
  Random random(6);
  struct Case {
    std::size_t heads, positions, first, dim;
  };
  std::vector<Case> cases = {{1, 1, 0, 64},   {3, 1, 15, 64},  {2, 1, 16, 8},   {1, 24, 0, 64},
                             {4, 5, 300, 22}, {2, 7, 90, 128}, {1, 1, 700, 80}, {9, 1, 200, 96}};
  for (int i = 0; i < 10; ++i) {
    cases.push_back(
        {1 + random.below(5), 1 + random.below(9), random.below(200), 2 * (1 + random.below(70))});
  }
  for (const auto& [heads, positions, first, dim] : cases) {
    const std::size_t all = first + positions;
    const std::size_t stride = heads * dim + random.below(5);
    const Floats query = random.floats(positions * stride);
    const AttentionTask task = {.query = query.data(),
                                .query_stride = stride,
                                .heads = heads,
                                .positions = positions,
                                .first = first,
                                .head_dim = dim,
                                .scale = 1.0F / std::sqrt(static_cast<float>(dim)),
                                .scores = nullptr,
                                .out = nullptr,
                                .out_stride = stride};
    const Floats key = random.floats(all * dim);
    const Floats value = random.floats(all * dim);
    const Floats blocks = key_blocks(key, dim, 1e30F);
    check_attention(kernels.attention, task, FloatCache{blocks.data(), value.data()},
                    {key.begin(), key.end()}, {value.begin(), value.end()});

    // int8: random bytes and scales, and what they stand for.
    const std::size_t parts = cache_blocks(dim);
    const std::size_t capacity = round_up(all, kKeyBlock);
    std::vector<std::int8_t> keys(all * dim);
    std::vector<std::int8_t> values(all * dim);
    std::vector<std::uint16_t> key_scales(all * parts);
    std::vector<std::uint16_t> value_scales(parts * capacity);
    std::vector<double> exact_keys(all * dim);
    std::vector<double> exact_values(all * dim);
    for (std::size_t p = 0; p < all; ++p) {
      for (std::size_t i = 0; i < dim; ++i) {
        std::uint16_t& key_scale = key_scales[p * parts + i / kCacheBlock];
        std::uint16_t& value_scale = value_scales[i / kCacheBlock * capacity + p];
        if (i % kCacheBlock == 0) {
          key_scale = static_cast<std::uint16_t>(8U << 10U | random.below(1024));  // from 2^-7
          value_scale = static_cast<std::uint16_t>(8U << 10U | random.below(1024));
        }
        keys[p * dim + i] = static_cast<std::int8_t>(static_cast<int>(random.below(255)) - 127);
        values[p * dim + i] = static_cast<std::int8_t>(static_cast<int>(random.below(255)) - 127);
        exact_keys[p * dim + i] = std::ldexp(1024 + (key_scale & 1023), -17) * keys[p * dim + i];
        exact_values[p * dim + i] = std::ldexp(1024 + (value_scale & 1023), -17) * values[p * dim + i];
      }
    }
    const std::vector<std::int8_t> byte_blocks = key_blocks<std::int8_t>(keys, dim, 99);
    const std::vector<std::uint16_t> scale_blocks = key_blocks<std::uint16_t>(key_scales, parts, 0x3C00);
    check_attention(
        kernels.attention_i8, task,
        Int8Cache{byte_blocks.data(), scale_blocks.data(), values.data(), value_scales.data(), capacity},
        exact_keys, exact_values);
  }
}

}  // namespace

int main() {
  for (const CpuLevel level : {CpuLevel::scalar, CpuLevel::avx2, CpuLevel::avx512}) {
    if (level > detected_cpu_level()) continue;
    std::printf("%s\n", std::string(cpu_level_name(level)).c_str());
    const DecoderKernels& kernels = decoder_kernels(level);
    test_matmul_floats(kernels);
    test_quantize(kernels);
    test_matmul_i8(kernels);
    test_int4(kernels);
    test_small_steps(kernels);
    test_rope(kernels);
    test_attention(kernels);
  }
  return castline::test::finish();
}
