// A package small enough to damage thousands of times: its files in memory, and a folder to write them to.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/crc32.hpp"
#include "base/sha256.hpp"

namespace castline::test {

inline constexpr const char* kTinyModel =
    R"({"vocab_size": 40, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 1, )"
    R"("num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 6, "max_position_embeddings": 64, )"
    R"("rope_theta": 10000.0, "rms_norm_eps": 1e-05, "tie_word_embeddings": true})";

/// A safetensors file as cpu/weights.safetensors is one: every tensor at a multiple of 64 bytes.
class WeightFile {
 public:
  /// `shape` as JSON writes it, without brackets.
  void add(const std::string& name, const char* type, const std::string& shape, const std::string& raw) {
    entry(name, type, shape, raw);
    const std::size_t gap = (64 - raw.size() % 64) % 64;
    if (gap > 0)
      entry("padding." + std::to_string(data_.size()), "I8", std::to_string(gap), std::string(gap, '\0'));
  }
  template <typename T>
  void add(const std::string& name, const char* type, const std::string& shape,
           const std::vector<T>& values) {
    add(name, type, shape,
        std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
  }
  std::string bytes() const {
    std::string header = header_ + "}";
    header.resize((header.size() + 8 + 63) / 64 * 64 - 8, ' ');
    const std::uint64_t length = header.size();
    std::string file(sizeof length, '\0');
    std::memcpy(file.data(), &length, sizeof length);
    return file + header + data_;
  }

 private:
  void entry(const std::string& name, const char* type, const std::string& shape, const std::string& raw) {
    header_ += ",\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":[" + shape + "],\"data_offsets\":[" +
               std::to_string(data_.size()) + "," + std::to_string(data_.size() + raw.size()) + "]}";
    data_ += raw;
  }

  std::string header_ = R"({"__metadata__":{"format":"castline"})";
  std::string data_;
};

/// cpu/weights.safetensors for kTinyModel with random weights; int8 as the runtime reads it where asked.
inline std::string tiny_weights(bool int8 = false) {
  std::mt19937 engine(11);
  std::normal_distribution<float> normal(0.0F, 0.4F);
  WeightFile file;
  const auto floats = [&](std::size_t n) {
    std::vector<float> values(n);
    for (float& v : values) v = normal(engine);
    return values;
  };
  const auto vector = [&](const std::string& name, std::size_t n) {
    file.add(name, "F32", std::to_string(n), floats(n));
  };
  const auto matrix = [&](const std::string& name, std::size_t channels, std::size_t size) {
    const std::string shape = std::to_string(channels) + "," + std::to_string(size);
    if (!int8) {
      file.add(name, "F32", shape, floats(channels * size));
      return;
    }
    std::string raw(channels * size, '\0');
    for (char& c : raw) c = static_cast<char>(static_cast<int>(engine() % 255) - 127);
    file.add(name, "I8", shape, raw);
    vector(name + ".scale", channels);
  };
  matrix("model.embed_tokens.weight", 40, 12);
  const std::string layer = "model.layers.0.";
  vector(layer + "input_layernorm.weight", 12);
  matrix(layer + "self_attn.q_proj.weight", 12, 12);
  matrix(layer + "self_attn.k_proj.weight", 6, 12);
  matrix(layer + "self_attn.v_proj.weight", 6, 12);
  matrix(layer + "self_attn.o_proj.weight", 12, 12);
  vector(layer + "post_attention_layernorm.weight", 12);
  matrix(layer + "mlp.gate_proj.weight", 20, 12);
  matrix(layer + "mlp.up_proj.weight", 20, 12);
  matrix(layer + "mlp.down_proj.weight", 12, 20);
  vector("model.norm.weight", 12);
  return file.bytes();
}

/// package.json for these weights; `generation` and `model` as the manifest holds them.
inline std::string tiny_manifest(
    const std::string& weights,
    const std::string& generation = R"({"eos_ids": [2], "bos_id": 1, "max_context": 64})",
    const std::string& model = kTinyModel) {
  const std::string hash = sha256_hex(std::as_bytes(std::span(weights.data(), weights.size())));
  return R"({"schema_version": 1, "castline_version": "0.1.0", "model": )" + model + R"(, "generation": )" +
         generation + R"(, "files": {"cpu/weights.safetensors": {"size": )" + std::to_string(weights.size()) +
         R"(, "sha256": ")" + hash + R"("}}, "backends": {"cpu": {"weights": "f32", "status": "passed"}}})";
}

/// These files as one: a zip archive of stored members, their data at multiples of 4096.
inline std::string tiny_archive(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out;
  std::string directory;
  const auto put = [](std::string& to, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
  };
  for (const auto& [name, content] : files) {
    const std::uint64_t header = out.size();
    const std::size_t unpadded = out.size() + 30 + name.size() + 4;
    const std::size_t gap = (4096 - unpadded % 4096) % 4096;
    const std::uint32_t crc = crc32(std::as_bytes(std::span(content)));
    const auto common = [&](std::string& to, std::size_t extra) {
      put(to, 20, 2);  // version needed
      put(to, 0, 4);   // flags, method: stored
      put(to, 0, 4);   // time, date
      put(to, crc, 4);
      put(to, content.size(), 4);
      put(to, content.size(), 4);
      put(to, name.size(), 2);
      put(to, extra, 2);
    };
    put(out, 0x04034B50, 4);
    common(out, 4 + gap);
    out += name;
    put(out, 0xD935, 2);
    put(out, gap, 2);
    out += std::string(gap, '\0') + content;
    put(directory, 0x02014B50, 4);
    put(directory, 20, 2);
    common(directory, 0);
    put(directory, 0, 10);  // comment, part, attributes
    put(directory, header, 4);
    directory += name;
  }
  const std::uint64_t begin = out.size();
  out += directory;
  put(out, 0x06054B50, 4);
  put(out, 0, 4);
  put(out, files.size(), 2);
  put(out, files.size(), 2);
  put(out, directory.size(), 4);
  put(out, begin, 4);
  put(out, 0, 2);
  return out;
}

/// A folder of its own under the system's temporary one, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "castline-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path() const { return path_; }
  void write(const std::string& relative, const std::string& bytes) const {
    const std::filesystem::path file = std::filesystem::path(path_) / relative;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
  }

 private:
  std::string path_;
};

/// One deterministic damage of `bytes` within its first `range`: a flipped bit, a changed, dropped or doubled
/// piece, or a cut.
inline std::string damaged(std::string bytes, std::size_t range, std::mt19937& engine) {
  const std::size_t at = engine() % range;
  const std::size_t length = 1 + engine() % 8;
  static const char* const kPieces[] = {"-1", "9999999999999999999", "1e400", "null", "[]", "{", "\"",
                                        "0",  "18446744073709551615"};
  switch (engine() % 6) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << engine() % 8));
      break;
    case 1:
      bytes[at] = static_cast<char>(engine());
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 4:
      bytes.replace(at, length, kPieces[engine() % std::size(kPieces)]);
      break;
    default:
      bytes.resize(at);
      break;
  }
  return bytes;
}

}  // namespace castline::test
