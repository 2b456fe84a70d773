#include "runtime/cpu_weights.hpp"

#include <set>

#include "base/error.hpp"

namespace castline {
namespace {

// Tensors of this name keep the others aligned; the writer is compile/cpu_weights.py.
constexpr std::string_view kPadding = "padding.";

constexpr std::size_t kLargestBlock = 128;  // of int4 elements that share a scale

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
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
    matrix.channels = channels;
    matrix.size = size;
    if (type == DataType::i8) {
      matrix.format = MatrixFormat::int8;
      matrix.scale = vector(name + ".scale", channels);
    }
    matrix.data = take(name, type == DataType::i8 ? type : DataType::f32, {channels, size}).data.data();
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

}  // namespace

std::string_view name_of(MatrixFormat format) {
  switch (format) {
    case MatrixFormat::f32:
      return "f32";
    case MatrixFormat::int8:
      return "int8";
    case MatrixFormat::int4:
      return "int4";
  }
  return "";
}

DecoderWeights::DecoderWeights(const Safetensors& file, const ModelConfig& config) {
  Reader reader(file);
  embedding = reader.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  if (embedding.format == MatrixFormat::int4) {
    throw_data("[" + file.where() +
               ": model.embed_tokens.weight] expected embeddings in F32 or I8, but got U8");
  }
  for (std::size_t i = 0; i < config.num_hidden_layers; ++i) layers.push_back(read_layer(reader, config, i));
  final_norm = reader.vector("model.norm.weight", config.hidden_size);
  head = config.tie_word_embeddings ? embedding
                                    : reader.matrix("lm_head.weight", config.vocab_size, config.hidden_size);
  reader.check_all_taken();
}

}  // namespace castline
