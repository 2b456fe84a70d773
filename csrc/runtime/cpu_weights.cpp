#include "runtime/cpu_weights.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.hpp"
#include "kernels/float16.hpp"

namespace castline {
namespace {

// cpu_weights.hpp says what these are for.
constexpr std::string_view kPadding = "padding.";

constexpr std::size_t kLargestBlock = 128;  // of int4 elements that share a scale

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Of a matrix stored as the checkpoint has it; U8 is int4.
MatrixFormat format_of(DataType type) {
  switch (type) {
    case DataType::f32:
      return MatrixFormat::f32;
    case DataType::f16:
      return MatrixFormat::f16;
    case DataType::bf16:
      return MatrixFormat::bf16;
    case DataType::i8:
      return MatrixFormat::int8;
    case DataType::u8:
      return MatrixFormat::int4;
  }
  return MatrixFormat::f32;
}

// Takes tensors by name and remembers which, to find those that nothing asked for.
class Reader {
 public:
  explicit Reader(const Safetensors& file) : file_(file) {}

  const float* vector(const std::string& name, std::size_t size) {
    return take(name, DataType::f32, {size}).as<float>();
  }

  Matrix matrix(const std::string& name, std::size_t channels, std::size_t size) {
    const DataType type = file_.at(name).type;
    if (type == DataType::u8) return int4_matrix(name, channels, size);
    Matrix matrix;
    matrix.format = format_of(type);
    matrix.channels = channels;
    matrix.size = size;
    matrix.data = take(name, type, {channels, size}).data.data();
    if (type == DataType::i8) matrix.scale = vector(name + ".scale", channels);
    return matrix;
  }

  void check_all_taken() const {
    for (const auto& [name, tensor] : file_.tensors()) {
      if (taken_.count(name) == 0 && !name.starts_with(kPadding)) {
        throw_data("[" + file_.where() + ": " + name +
                   "] expected only the tensors of a Llama decoder without biases, but got this one");
      }
    }
  }

 private:
  Matrix int4_matrix(const std::string& name, std::size_t channels, std::size_t size) {
    using kernels::kInt4Block;
    using kernels::kInt4Group;
    const std::string scale_name = name + ".scale";
    const std::vector<std::size_t>& scales = file_.at(scale_name).shape;
    const std::size_t count = scales.size() == 3 ? scales[1] : 0;  // of scales in a row
    std::size_t block = kInt4Block;
    while (block < kLargestBlock && (size + block - 1) / block != count) block *= 2;
    if (size % kInt4Block != 0 || (size + block - 1) / block != count) {
      throw_data("[" + file_.where() + ": " + scale_name +
                 "] expected scales of blocks of 32, 64 or 128 among " + std::to_string(size) +
                 " elements, but got the shape " + shape_text(scales));
    }
    const std::size_t groups = kernels::round_up(channels, kInt4Group) / kInt4Group;
    Matrix matrix;
    matrix.format = MatrixFormat::int4;
    matrix.channels = channels;
    matrix.size = size;
    matrix.i4 = {.q = take(name, DataType::u8, {groups, size / kInt4Block, kernels::kInt4BlockBytes})
                          .as<std::uint8_t>(),
                 .scale = take(scale_name, DataType::f16, {groups, count, kInt4Group}).as<std::uint16_t>(),
                 .zero = take(name + ".zero", DataType::u8, {groups, count, kInt4Group}).as<std::uint8_t>(),
                 .size = size,
                 .block = block};
    return matrix;
  }

  const TensorView& take(const std::string& name, DataType type, const std::vector<std::size_t>& shape) {
    const TensorView& tensor = file_.at(name);
    if (tensor.type != type) {
      throw_data("[" + file_.where() + ": " + name + "] expected the type " + std::string(name_of(type)) +
                 ", but got " + std::string(name_of(tensor.type)));
    }
    if (tensor.shape != shape) {
      throw_data("[" + file_.where() + ": " + name + "] expected the shape " + shape_text(shape) +
                 " that package.json's model gives, but got " + shape_text(tensor.shape));
    }
    taken_.insert(name);
    return tensor;
  }

  const Safetensors& file_;
  std::set<std::string> taken_;
};

LayerWeights read_layer(Reader& reader, const ModelConfig& config, std::size_t index) {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const std::size_t hidden = config.hidden_size;
  const std::size_t queries = config.num_attention_heads * config.head_dim;
  const std::size_t keys = config.num_key_value_heads * config.head_dim;
  LayerWeights layer;
  layer.input_norm = reader.vector(prefix + "input_layernorm.weight", hidden);
  layer.query = reader.matrix(prefix + "self_attn.q_proj.weight", queries, hidden);
  layer.key = reader.matrix(prefix + "self_attn.k_proj.weight", keys, hidden);
  layer.value = reader.matrix(prefix + "self_attn.v_proj.weight", keys, hidden);
  layer.output = reader.matrix(prefix + "self_attn.o_proj.weight", hidden, queries);
  layer.post_attention_norm = reader.vector(prefix + "post_attention_layernorm.weight", hidden);
  layer.gate = reader.matrix(prefix + "mlp.gate_proj.weight", config.intermediate_size, hidden);
  layer.up = reader.matrix(prefix + "mlp.up_proj.weight", config.intermediate_size, hidden);
  layer.down = reader.matrix(prefix + "mlp.down_proj.weight", hidden, config.intermediate_size);
  return layer;
}

// The addresses are those that Int4Matrix gives.
void int4_row(const kernels::Int4Matrix& matrix, std::size_t channel, float* out) {
  using kernels::kInt4Block;
  using kernels::kInt4Group;
  const std::size_t group = channel / kInt4Group;
  const std::size_t lane = channel % kInt4Group;
  const std::size_t grids = (matrix.size + matrix.block - 1) / matrix.block;
  const std::uint8_t* q = matrix.q + group * (matrix.size / kInt4Block) * kernels::kInt4BlockBytes;
  for (std::size_t i = 0; i < matrix.size; i += 8, q += 4 * kInt4Group) {
    const std::size_t grid = (group * grids + i / matrix.block) * kInt4Group + lane;
    const float scale = kernels::float_of_half(matrix.scale[grid]);
    const int zero = matrix.zero[grid];
    for (std::size_t e = 0; e < 4; ++e) {
      const std::uint8_t both = q[lane * 4 + e];
      out[i + e] = static_cast<float>((both & 15) - zero) * scale;
      out[i + 4 + e] = static_cast<float>((both >> 4) - zero) * scale;
    }
  }
}

}  // namespace

std::string_view name_of(MatrixFormat format) {
  switch (format) {
    case MatrixFormat::f32:
      return "f32";
    case MatrixFormat::f16:
      return "f16";
    case MatrixFormat::bf16:
      return "bf16";
    case MatrixFormat::int8:
      return "int8";
    case MatrixFormat::int4:
      return "int4";
  }
  return "";
}

void Matrix::row(std::size_t channel, float* out) const {
  switch (format) {
    case MatrixFormat::f32:
      std::memcpy(out, f32(channel), size * sizeof(float));
      break;
    case MatrixFormat::f16:
      std::transform(f16(channel), f16(channel) + size, out, kernels::float_of_half);
      break;
    case MatrixFormat::bf16:
      std::transform(f16(channel), f16(channel) + size, out, kernels::float_of_bfloat16);
      break;
    case MatrixFormat::int8:
      for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<float>(i8(channel)[i]) * scale[channel];
      break;
    case MatrixFormat::int4:
      int4_row(i4, channel, out);
      break;
  }
}

DecoderWeights::DecoderWeights(const Safetensors& file, const ModelConfig& config) {
  Reader reader(file);
  embedding = reader.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  for (std::size_t i = 0; i < config.num_hidden_layers; ++i) layers.push_back(read_layer(reader, config, i));
  final_norm = reader.vector("model.norm.weight", config.hidden_size);
  tied = config.tie_word_embeddings;
  head = tied ? embedding : reader.matrix("lm_head.weight", config.vocab_size, config.hidden_size);
  reader.check_all_taken();
}

std::map<MatrixFormat, std::size_t> DecoderWeights::formats() const {
  std::map<MatrixFormat, std::size_t> counts;
  for (const LayerWeights& layer : layers) {
    for (const Matrix* matrix : layer.matrices()) ++counts[matrix->format];
  }
  ++counts[embedding.format];
  if (!tied) ++counts[head.format];
  return counts;
}

MatrixFormat DecoderWeights::main_format() const {
  std::map<MatrixFormat, std::size_t> weights;
  for (const LayerWeights& layer : layers) {
    for (const Matrix* matrix : layer.matrices()) weights[matrix->format] += matrix->channels * matrix->size;
  }
  return std::max_element(weights.begin(), weights.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

}  // namespace castline
