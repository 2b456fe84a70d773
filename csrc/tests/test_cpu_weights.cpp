// Every format of a matrix in every place of a model: the rows that come out of a file, and the logits of
// mixed models against the same model in float32.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "check.hpp"
#include "runtime/cpu_weights.hpp"
#include "runtime/engine.hpp"
#include "runtime/kv_cache.hpp"
#include "tiny_package.hpp"

using namespace castline;
using namespace castline::test;

namespace {

constexpr std::size_t kHidden = 64;
constexpr std::size_t kInner = 160;
constexpr std::size_t kVocabulary = 50;

std::string model_text(bool tied) {
  return R"({"vocab_size": 50, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, )"
         R"("num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64, )"
         R"("rope_theta": 10000.0, "rms_norm_eps": 1e-05, "tie_word_embeddings": )" +
         std::string(tied ? "true}" : "false}");
}

const std::string kGeneration = R"({"eos_ids": [], "bos_id": null, "max_context": 64})";

// The value of a 16-bit float, by its definition; no infinity.
double value_of(std::uint16_t bits, int fraction_bits) {
  const int bias = (1 << (14 - fraction_bits)) - 1;
  const int exponent = (bits & 0x7FFF) >> fraction_bits;
  const double fraction = std::ldexp(bits & ((1 << fraction_bits) - 1), -fraction_bits);
  const double magnitude =
      std::ldexp(exponent == 0 ? fraction : 1.0 + fraction, std::max(exponent, 1) - bias);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// A matrix with random contents in one format, and what they stand for.
struct Stored {
  std::vector<float> values;  // [channels, size]

  Stored(WeightFile& file, const std::string& name, std::size_t channels, std::size_t size,
         const std::string& format, std::mt19937& random) {
    const std::string shape = std::to_string(channels) + "," + std::to_string(size);
    values.resize(channels * size);
    std::normal_distribution<float> normal(0.0F, 0.1F);
    if (format == "f32") {
      for (float& v : values) v = normal(random);
      file.add(name, "F32", shape, values);
    } else if (format == "f16" || format == "bf16") {
      const int fraction_bits = format == "f16" ? 10 : 7;
      const unsigned one = format == "f16" ? 15 : 127;  // the exponent of 1
      std::vector<std::uint16_t> bits(values.size());
      for (std::size_t i = 0; i < bits.size(); ++i) {
        const unsigned exponent = random() % 32 == 0 ? 0 : one - 6 + random() % 4;
        bits[i] = static_cast<std::uint16_t>((random() % 2) << 15U | exponent << fraction_bits |
                                             random() % (1U << fraction_bits));
        values[i] = static_cast<float>(value_of(bits[i], fraction_bits));
      }
      file.add(name, format == "f16" ? "F16" : "BF16", shape, bits);
    } else if (format == "int8") {
      std::vector<std::int8_t> q(values.size());
      std::vector<float> scale(channels);
      for (float& s : scale) s = std::fabs(normal(random)) / 64.0F;
      for (std::size_t i = 0; i < q.size(); ++i) {
        q[i] = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
        values[i] = static_cast<float>(q[i]) * scale[i / size];
      }
      file.add(name, "I8", shape, q);
      file.add(name + ".scale", "F32", std::to_string(channels), scale);
    } else {
      add_int4(file, name, channels, size, static_cast<std::size_t>(std::stoi(format.substr(5))), random);
    }
  }

 private:
  void add_int4(WeightFile& file, const std::string& name, std::size_t channels, std::size_t size,
                std::size_t block, std::mt19937& random) {
    const std::size_t groups = (channels + 15) / 16;
    const std::size_t grids = (size + block - 1) / block;
    std::vector<std::uint8_t> q(groups * size / 32 * 256);
    std::vector<std::uint16_t> scale(groups * grids * 16);
    std::vector<std::uint8_t> zero(scale.size());
    for (std::uint8_t& byte : q) byte = static_cast<std::uint8_t>(random());
    for (std::uint16_t& s : scale) s = static_cast<std::uint16_t>(7U << 10U | random() % 1024);  // 2^-8 …
    for (std::uint8_t& z : zero) z = static_cast<std::uint8_t>(5 + random() % 6);
    for (std::size_t c = 0; c < channels; ++c) {
      for (std::size_t i = 0; i < size; ++i) {
        const std::size_t byte = ((c / 16 * (size / 32) + i / 32) * 4 + i % 32 / 8) * 64 + c % 16 * 4 + i % 4;
        const int nibble = i % 8 < 4 ? q[byte] & 15 : q[byte] >> 4;
        const std::size_t grid = (c / 16 * grids + i / block) * 16 + c % 16;
        values[c * size + i] = static_cast<float>((nibble - zero[grid]) * value_of(scale[grid], 10));
      }
    }
    const std::string grid_shape = std::to_string(groups) + "," + std::to_string(grids) + ",16";
    file.add(name, "U8", std::to_string(groups) + "," + std::to_string(size / 32) + ",256", q);
    file.add(name + ".scale", "F16", grid_shape, scale);
    file.add(name + ".zero", "U8", grid_shape, zero);
  }
};

using Formats = std::map<std::string, std::string>;  // of matrices by name; "" for all others

struct Model {
  std::string weights;   // the file
  std::string in_float;  // the same values, all of them F32
  std::map<std::string, std::vector<float>> values;

  Model(const Formats& formats, bool tied) {
    std::mt19937 random(5);
    WeightFile file;
    WeightFile plain;
    const auto matrix = [&](const std::string& name, std::size_t channels, std::size_t size) {
      const auto own = formats.find(name);
      const Stored stored(file, name, channels, size, own == formats.end() ? formats.at("") : own->second,
                          random);
      plain.add(name, "F32", std::to_string(channels) + "," + std::to_string(size), stored.values);
      values[name] = stored.values;
    };
    const auto norm = [&](const std::string& name) {
      std::vector<float> weight(kHidden);
      for (float& v : weight) v = 0.5F + static_cast<float>(random() % 100) / 100.0F;
      file.add(name, "F32", std::to_string(kHidden), weight);
      plain.add(name, "F32", std::to_string(kHidden), weight);
    };
    matrix("model.embed_tokens.weight", kVocabulary, kHidden);
    for (int i = 0; i < 2; ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      norm(layer + "input_layernorm.weight");
      matrix(layer + "self_attn.q_proj.weight", 64, kHidden);
      matrix(layer + "self_attn.k_proj.weight", 32, kHidden);
      matrix(layer + "self_attn.v_proj.weight", 32, kHidden);
      matrix(layer + "self_attn.o_proj.weight", kHidden, 64);
      norm(layer + "post_attention_layernorm.weight");
      matrix(layer + "mlp.gate_proj.weight", kInner, kHidden);
      matrix(layer + "mlp.up_proj.weight", kInner, kHidden);
      matrix(layer + "mlp.down_proj.weight", kHidden, kInner);
    }
    norm("model.norm.weight");
    if (!tied) matrix("lm_head.weight", kVocabulary, kHidden);
    weights = file.bytes();
    in_float = plain.bytes();
  }
};

std::vector<float> logits(const std::string& weights, bool tied, int threads, BackendInfo& info,
                          const std::string& generation = kGeneration) {
  const TemporaryFolder folder;
  folder.write("cpu/weights.safetensors", weights);
  folder.write("package.json", tiny_manifest(weights, generation, model_text(tied)));
  Engine engine(folder.path(), {.backend = "cpu", .threads = threads});
  info = engine.backend_info();
  std::vector<std::uint32_t> ids;
  for (std::uint32_t i = 0; i < 40; ++i) ids.push_back((i * 7 + 3) % kVocabulary);
  std::vector<float> found(ids.size() * kVocabulary);
  engine.logits(ids, found);
  return found;
}

double worst_of(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(double{a[i]} - double{b[i]}));
  return worst;
}

void test_rows() {
  for (const std::string format : {"f32", "f16", "bf16", "int8", "int4/32", "int4/64", "int4/128"}) {
    const Model model({{"", format}}, true);
    const Safetensors file(std::as_bytes(std::span(model.weights)), "test");
    const DecoderWeights weights(
        file, ModelConfig::from_json(json::parse(model_text(true), "test"), 64, std::nullopt, "test"));
    const auto check = [&](const Matrix& matrix, const std::string& name) {
      std::vector<float> row(matrix.size);
      for (std::size_t c = 0; c < matrix.channels; ++c) {
        matrix.row(c, row.data());
        const float* expected = model.values.at(name).data() + c * matrix.size;
        CHECK(std::equal(row.begin(), row.end(), expected));
      }
    };
    check(weights.embedding, "model.embed_tokens.weight");
    check(weights.layers[1].down, "model.layers.1.mlp.down_proj.weight");
  }
}

// 16-bit weights lose nothing more than their storage did: the same bits as in float32.
void test_sixteen_bits() {
  for (const std::string format : {"f16", "bf16"}) {
    for (const bool tied : {false, true}) {
      const Model model({{"", format}}, tied);
      BackendInfo info;
      const std::vector<float> expected = logits(model.in_float, tied, 1, info);
      CHECK(info.weights == "f32");
      CHECK(logits(model.weights, tied, 1, info) == expected);
      CHECK(logits(model.weights, tied, 3, info) == expected);
      CHECK(info.weights == format);
      CHECK((info.tensors == std::map<std::string, std::size_t>{{format, tied ? 15 : 16}}));
    }
  }
}

void test_mixed() {
  const std::vector<std::pair<Formats, bool>> models = {
      {{{"", "int4/32"}, {"model.embed_tokens.weight", "f16"}, {"lm_head.weight", "int8"}}, false},
      {{{"", "int8"}, {"model.embed_tokens.weight", "int4/64"}, {"lm_head.weight", "bf16"}}, false},
      {{{"", "bf16"}, {"model.embed_tokens.weight", "int8"}, {"lm_head.weight", "int4/128"}}, false},
      {{{"", "int4/64"},
        {"model.layers.0.self_attn.k_proj.weight", "f16"},
        {"model.layers.0.self_attn.v_proj.weight", "int8"},
        {"model.layers.1.mlp.up_proj.weight", "bf16"},
        {"model.layers.1.mlp.down_proj.weight", "f32"}},
       true},
  };
  for (const auto& [formats, tied] : models) {
    const Model model(formats, tied);
    BackendInfo info;
    const std::vector<float> expected = logits(model.in_float, tied, 1, info);
    const std::vector<float> found = logits(model.weights, tied, 1, info);
    double size = 0.0;
    for (const float v : expected) size = std::max(size, std::fabs(double{v}));
    std::printf("%s: logits up to %.2f differ by %.4f\n", info.weights.c_str(), size,
                worst_of(found, expected));
    // Activations in int8 have an error of half a percent of their block's largest.
    CHECK(worst_of(found, expected) < 0.03 * size);
    CHECK(logits(model.weights, tied, 3, info) == found);
    CHECK(info.weights == formats.at("").substr(0, formats.at("").find('/')));
  }
}

// What the int8 cache costs: a rounding of keys and values to 1/254 of their block's largest.
void test_int8_cache() {
  const std::string generation = R"({"eos_ids": [], "bos_id": null, "max_context": 64, "kv": "int8"})";
  const Model model({{"", "f32"}}, true);
  BackendInfo info;
  const std::vector<float> expected = logits(model.weights, true, 1, info);
  CHECK(info.cache == "f32");
  const std::vector<float> found = logits(model.weights, true, 1, info, generation);
  CHECK(info.cache == "int8");
  CHECK(logits(model.weights, true, 3, info, generation) == found);
  double size = 0.0;
  for (const float v : expected) size = std::max(size, std::fabs(double{v}));
  std::printf("int8 cache: logits up to %.2f differ by %.4f\n", size, worst_of(found, expected));
  CHECK(worst_of(found, expected) > 0.0);
  CHECK(worst_of(found, expected) < 0.03 * size);
  CHECK_THROWS(logits(model.weights, true, 1, info, R"({"eos_ids": [], "max_context": 64, "kv": "int2"})"),
               "generation.kv] expected f32 or int8, but got 'int2'");
}

void test_quantize_head() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const std::size_t size : {1UL, 32UL, 33UL, 64UL, 80UL}) {
    for (const float spread : {0.0F, 1e-20F, 1e-6F, 1e-3F, 1.0F, 1e4F}) {
      std::vector<float> x(size);
      for (float& v : x) v = spread * normal(random);
      std::vector<std::int8_t> q(size);
      std::vector<std::uint16_t> scale(kernels::cache_blocks(size));
      quantize_head(x, q.data(), scale.data());
      for (std::size_t i = 0; i < size; ++i) {
        const double unit = value_of(scale[i / kernels::kCacheBlock], 10);
        CHECK(std::abs(q[i]) <= 127);
        CHECK(std::fabs(q[i] * unit - double{x[i]}) <= 0.5001 * unit);
        // No more than one float16 above what the block needs.
        double most = 0.0;
        const std::size_t begin = i / kernels::kCacheBlock * kernels::kCacheBlock;
        for (std::size_t j = begin; j < std::min(size, begin + kernels::kCacheBlock); ++j) {
          most = std::max(most, std::fabs(double{x[j]}));
        }
        CHECK(unit <= most / 127.0 * (1.0 + 0x1p-10 + 1e-6) + 0x1p-24);
      }
    }
  }
  for (const float bad : {INFINITY, -INFINITY, NAN, 1e9F}) {
    std::vector<float> x(40, 1.0F);
    x[33] = bad;
    std::vector<std::int8_t> q(x.size());
    std::uint16_t scale[2];
    quantize_head(x, q.data(), scale);
    CHECK(scale[0] < 0x7C00 && scale[1] == 0x7E00);
  }
}

void test_refused() {
  const ModelConfig config =
      ModelConfig::from_json(json::parse(model_text(true), "test"), 64, std::nullopt, "test");
  std::mt19937 random(1);
  const auto refused = [&](const char* type, const char* shape, std::size_t bytes) {
    WeightFile file;
    const Stored embeddings(file, "model.embed_tokens.weight", kVocabulary, kHidden, "bf16", random);
    file.add("model.layers.0.input_layernorm.weight", "F32", "64", std::vector<float>(kHidden));
    file.add("model.layers.0.self_attn.q_proj.weight", type, shape, std::string(bytes, '\0'));
    file.add("model.layers.0.self_attn.q_proj.weight.scale", "F16", "4,3,16", std::string(384, '\0'));
    const std::string whole = file.bytes();
    const DecoderWeights weights(Safetensors(std::as_bytes(std::span(whole)), "test"), config);
  };
  CHECK_THROWS(
      refused("BF16", "64,32", 4096),
      "q_proj.weight] expected the shape [64, 64] that package.json's model gives, but got [64, 32]");
  CHECK_THROWS(refused("I8", "64,64", 4096), "q_proj.weight.scale] expected the type F32, but got F16");
  CHECK_THROWS(
      refused("U8", "4,2,256", 2048),
      "q_proj.weight.scale] expected scales of blocks of 32, 64 or 128 among 64 elements, but got the "
      "shape [4, 3, 16]");
}

}  // namespace

int main() {
  test_rows();
  test_sixteen_bits();
  test_mixed();
  test_int8_cache();
  test_quantize_head();
  test_refused();
  return castline::test::finish();
}
