#include "runtime/cpu_backend.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string>

#include "base/error.hpp"
#include "runtime/aligned_buffer.hpp"
#include "runtime/kv_cache.hpp"

namespace castline {
namespace {

// Tokens that pass through a layer together: enough that reading the weights is cheap beside the products.
constexpr std::size_t kChunk = 512;
// Rows of logits computed together.
constexpr std::size_t kLogitRows = 32;
// Query heads times positions of one attention task, about.
constexpr std::size_t kAttentionRows = 24;
// Multiply-adds that are worth a task of their own: a few microseconds.
constexpr std::size_t kTaskWork = 32768;
// Tasks of a product cover a multiple of so many channels, whole register tiles.
constexpr std::size_t kChannelGrain = 16;

// How many items of `work` multiply-adds each make a task.
std::size_t grain(std::size_t work) { return (kTaskWork + work - 1) / work; }

}  // namespace

class CpuSequence final : public Sequence {
 public:
  CpuSequence(CpuBackend& backend, std::size_t capacity)
      : backend_(backend),
        config_(backend.config_),
        kernels_(backend.kernels_),
        limit_(capacity),
        cache_(config_, backend.cache_format_, capacity) {}

  std::size_t length() const override { return length_; }

  void append(std::span<const std::uint32_t> tokens, std::size_t logits_from,
              const LogitsSink& sink) override {
    if (tokens.size() > limit_ - length_) {
      throw_usage("[append] expected at most " + std::to_string(limit_ - length_) + " more tokens, but got " +
                  std::to_string(tokens.size()));
    }
    for (std::size_t done = 0; done < tokens.size(); done += kChunk) {
      const std::span<const std::uint32_t> chunk =
          tokens.subspan(done, std::min(kChunk, tokens.size() - done));
      run_layers(chunk);
      const std::size_t from = logits_from > done ? logits_from - done : 0;
      if (from < chunk.size()) run_head(from, chunk.size(), done, sink);
    }
  }

 private:
  // What a product reads: [rows, size]. prepare() puts its quantised form into quantised_ and scales_.
  struct Activations {
    const float* x;
    std::size_t rows;
    std::size_t size;
  };

  static std::size_t channel_grain(const Activations& x) {
    return kernels::round_up(grain(x.rows * x.size), kChannelGrain);
  }

  void reserve(std::size_t rows) {
    const std::size_t queries = config_.num_attention_heads * config_.head_dim;
    const std::size_t keys = config_.num_key_value_heads * config_.head_dim;
    const std::size_t widest = std::max({config_.hidden_size, config_.intermediate_size, queries});
    hidden_.reserve(rows * config_.hidden_size);
    normed_.reserve(rows * config_.hidden_size);
    query_.reserve(rows * queries);
    key_.reserve(rows * keys);
    value_.reserve(rows * keys);
    attended_.reserve(rows * queries);
    gate_.reserve(rows * config_.intermediate_size);
    up_.reserve(rows * config_.intermediate_size);
    change_.reserve(rows * config_.hidden_size);
    quantised_.reserve(rows * widest);
    scales_.reserve(rows * kernels::dot_blocks(widest));
    bytes_.reserve(rows * widest);
    byte_scales_.reserve(rows * widest / kernels::kInt4Block);
    byte_sums_.reserve(rows * widest / kernels::kInt4Block);
    cos_.reserve(rows * config_.head_dim / 2);
    sin_.reserve(rows * config_.head_dim / 2);
  }

  void run_layers(std::span<const std::uint32_t> tokens) {
    const std::size_t rows = tokens.size();
    reserve(rows);
    embed(tokens);
    turn_angles(rows);
    for (std::size_t i = 0; i < backend_.weights_.layers.size(); ++i) {
      const LayerWeights& layer = backend_.weights_.layers[i];
      norm(layer.input_norm, hidden_.data(), rows);
      project_heads(layer, rows);
      fill_cache(i, rows);
      attend(i, rows);
      add_product({attended_.data(), rows, layer.output.size}, layer.output);
      norm(layer.post_attention_norm, hidden_.data(), rows);
      gated(layer, rows);
      add_product({gate_.data(), rows, layer.down.size}, layer.down);
    }
    length_ += rows;
  }

  void embed(std::span<const std::uint32_t> tokens) {
    const Matrix& table = backend_.weights_.embedding;
    for (std::size_t r = 0; r < tokens.size(); ++r) table.row(tokens[r], hidden_.data() + r * table.size);
  }

  // The cosine and sine of every pair's angle at each new position, in float as transformers computes them.
  void turn_angles(std::size_t rows) {
    const std::size_t pairs = config_.head_dim / 2;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t i = 0; i < pairs; ++i) {
        const float angle = static_cast<float>(length_ + r) * config_.rope_frequencies[i];
        cos_.data()[r * pairs + i] = std::cos(angle);
        sin_.data()[r * pairs + i] = std::sin(angle);
      }
    }
  }

  void norm(const float* weight, const float* x, std::size_t rows) {
    const std::size_t size = config_.hidden_size;
    backend_.pool_.run(rows, grain(size), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) {
        kernels_.rms_norm(x + r * size, weight, size, config_.rms_norm_eps, normed_.data() + r * size);
      }
    });
  }

  // Must run before the products of x with these matrices: quantised ones take it quantised.
  void prepare(const Activations& x, std::initializer_list<const Matrix*> matrices) {
    const auto any = [&](MatrixFormat format) {
      return std::any_of(matrices.begin(), matrices.end(),
                         [&](const Matrix* m) { return m->format == format; });
    };
    const bool shorts = any(MatrixFormat::int8);
    const bool bytes = any(MatrixFormat::int4);
    if (!shorts && !bytes) return;
    backend_.pool_.run(x.rows, grain(x.size), [&](std::size_t begin, std::size_t end) {
      const float* from = x.x + begin * x.size;
      if (shorts) {
        kernels_.quantize(from, end - begin, x.size, quantised_.data() + begin * x.size,
                          scales_.data() + begin * kernels::dot_blocks(x.size));
      }
      if (bytes) {
        const std::size_t block = begin * (x.size / kernels::kInt4Block);
        kernels_.quantize_i8(from, end - begin, x.size, bytes_.data() + begin * x.size,
                             byte_scales_.data() + block, byte_sums_.data() + block);
      }
    });
  }

  // y[r, c] for the channels [begin, end) of `w`; y holds all of w's channels per row.
  void multiply(const Activations& x, const Matrix& w, std::size_t begin, std::size_t end, float* y) const {
    if (begin >= end) return;
    switch (w.format) {
      case MatrixFormat::f32:
        kernels_.matmul_f32(x.x, x.rows, w.f32(begin), end - begin, w.size, y + begin, w.channels);
        break;
      case MatrixFormat::f16:
        kernels_.matmul_f16(x.x, x.rows, w.f16(begin), end - begin, w.size, y + begin, w.channels);
        break;
      case MatrixFormat::bf16:
        kernels_.matmul_bf16(x.x, x.rows, w.f16(begin), end - begin, w.size, y + begin, w.channels);
        break;
      case MatrixFormat::int8:
        kernels_.matmul_i8(quantised_.data(), scales_.data(), x.rows, w.i8(begin), w.scale + begin,
                           end - begin, w.size, y + begin, w.channels);
        break;
      case MatrixFormat::int4:
        kernels_.matmul_i4(bytes_.data(), byte_scales_.data(), byte_sums_.data(), x.rows, w.i4, begin, end, y,
                           w.channels);
        break;
    }
  }

  void project_heads(const LayerWeights& layer, std::size_t rows) {
    const Activations x{normed_.data(), rows, config_.hidden_size};
    prepare(x, {&layer.query, &layer.key, &layer.value});
    // One loop over the channels of all three: a task may cover the end of one and the start of the next.
    struct Part {
      const Matrix& matrix;
      float* y;
    };
    const Part parts[] = {
        {layer.query, query_.data()}, {layer.key, key_.data()}, {layer.value, value_.data()}};
    const std::size_t total = layer.query.channels + layer.key.channels + layer.value.channels;
    backend_.pool_.run(total, channel_grain(x), [&](std::size_t begin, std::size_t end) {
      std::size_t first = 0;
      for (const Part& part : parts) {
        const std::size_t channels = part.matrix.channels;
        const std::size_t from = std::clamp(begin, first, first + channels) - first;
        const std::size_t to = std::clamp(end, first, first + channels) - first;
        multiply(x, part.matrix, from, to, part.y);
        first += channels;
      }
    });
  }

  void fill_cache(std::size_t layer, std::size_t rows) {
    const std::size_t dim = config_.head_dim;
    const std::size_t kv_heads = config_.num_key_value_heads;
    const std::size_t group = config_.num_attention_heads / kv_heads;
    // Heads in parallel: of a head, positions come in order.
    backend_.pool_.run(kv_heads, grain(rows * dim * 4), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = 0; r < rows; ++r) {
        const float* cos = cos_.data() + r * dim / 2;
        const float* sin = sin_.data() + r * dim / 2;
        float* query = query_.data() + (r * kv_heads + begin) * group * dim;
        float* key = key_.data() + (r * kv_heads + begin) * dim;
        const float* value = value_.data() + (r * kv_heads + begin) * dim;
        kernels_.rope(query, (end - begin) * group, dim, cos, sin);
        kernels_.rope(key, end - begin, dim, cos, sin);
        for (std::size_t h = begin; h < end; ++h, key += dim, value += dim) {
          cache_.store(layer, h, length_ + r, key, value);
        }
      }
    });
  }

  void attend(std::size_t layer, std::size_t rows) {
    const std::size_t dim = config_.head_dim;
    const std::size_t heads = config_.num_attention_heads;
    const std::size_t kv_heads = config_.num_key_value_heads;
    const std::size_t group = heads / kv_heads;
    const std::size_t positions = std::min(rows, (kAttentionRows + group - 1) / group);
    const std::size_t tiles = (rows + positions - 1) / positions;
    const std::size_t work = 2 * group * positions * (length_ + rows) * dim;
    backend_.pool_.run(kv_heads * tiles, grain(work), [&](std::size_t begin, std::size_t end) {
      thread_local AlignedBuffer<float> scores;
      for (std::size_t task = begin; task < end; ++task) {
        const std::size_t head = task / tiles;
        const std::size_t row = task % tiles * positions;
        const std::size_t count = std::min(positions, rows - row);
        const std::size_t first = length_ + row;
        scores.reserve(group * count * kernels::round_up(first + count, kernels::kKeyBlock));
        const std::size_t offset = (row * heads + head * group) * dim;
        const kernels::AttentionTask part = {.query = query_.data() + offset,
                                             .query_stride = heads * dim,
                                             .heads = group,
                                             .positions = count,
                                             .first = first,
                                             .head_dim = dim,
                                             .scale = 1.0F / std::sqrt(static_cast<float>(dim)),
                                             .scores = scores.data(),
                                             .out = attended_.data() + offset,
                                             .out_stride = heads * dim};
        cache_.attend(kernels_, part, layer, head);
      }
    });
  }

  // hidden += x · wᵀ
  void add_product(const Activations& x, const Matrix& w) {
    prepare(x, {&w});
    backend_.pool_.run(w.channels, channel_grain(x), [&](std::size_t begin, std::size_t end) {
      multiply(x, w, begin, end, change_.data());
      for (std::size_t r = 0; r < x.rows; ++r) {
        const std::size_t at = r * w.channels + begin;
        kernels_.add(hidden_.data() + at, change_.data() + at, end - begin);
      }
    });
  }

  // gate = silu(gate) · up
  void gated(const LayerWeights& layer, std::size_t rows) {
    const Activations x{normed_.data(), rows, config_.hidden_size};
    prepare(x, {&layer.gate, &layer.up});
    backend_.pool_.run(layer.gate.channels, channel_grain(x), [&](std::size_t begin, std::size_t end) {
      multiply(x, layer.gate, begin, end, gate_.data());
      multiply(x, layer.up, begin, end, up_.data());
      for (std::size_t r = 0; r < rows; ++r) {
        const std::size_t at = r * layer.gate.channels + begin;
        kernels_.swiglu(gate_.data() + at, up_.data() + at, end - begin);
      }
    });
  }

  void run_head(std::size_t from, std::size_t to, std::size_t index, const LogitsSink& sink) {
    const Matrix& head = backend_.weights_.head;
    for (std::size_t r = from; r < to; r += kLogitRows) {
      const std::size_t rows = std::min(kLogitRows, to - r);
      logits_.reserve(rows * head.channels);
      norm(backend_.weights_.final_norm, hidden_.data() + r * head.size, rows);
      const Activations x{normed_.data(), rows, head.size};
      prepare(x, {&head});
      backend_.pool_.run(head.channels, channel_grain(x), [&](std::size_t begin, std::size_t end) {
        multiply(x, head, begin, end, logits_.data());
      });
      for (std::size_t i = 0; i < rows; ++i) {
        sink(index + r + i, {logits_.data() + i * head.channels, head.channels});
      }
    }
  }

  CpuBackend& backend_;
  const ModelConfig& config_;
  const kernels::DecoderKernels& kernels_;
  std::size_t limit_;
  std::size_t length_ = 0;
  KvCache cache_;
  AlignedBuffer<float> hidden_, normed_, query_, key_, value_, attended_, gate_, up_, change_, logits_;
  AlignedBuffer<float> cos_, sin_;
  AlignedBuffer<std::int16_t> quantised_;  // with scales_: activations for int8 weights
  AlignedBuffer<float> scales_;
  AlignedBuffer<std::int8_t> bytes_;  // with their scales and sums: activations for int4 weights
  AlignedBuffer<float> byte_scales_, byte_sums_;
};

CpuBackend::CpuBackend(const Package& package, int threads)
    : config_(package.model()),
      cache_format_(package.cache_format()),
      file_(package.map(kCpuWeights, "the CPU backend")),
      weights_(Safetensors(file_.bytes(), package.location() + "/" + kCpuWeights), config_),
      level_(kernels::cpu_level()),
      kernels_(kernels::decoder_kernels(level_)),
      pool_(threads) {}

std::unique_ptr<Sequence> CpuBackend::start(std::size_t capacity) {
  return std::make_unique<CpuSequence>(*this, capacity);
}

BackendInfo CpuBackend::info() const {
  BackendInfo info = {.name = "cpu",
                      .weights = std::string(name_of(weights_.main_format())),
                      .processor = std::string(kernels::cpu_level_name(level_)),
                      .threads = pool_.threads(),
                      .weight_bytes = file_.size()};
  info.cache = name_of(cache_format_);
  for (const auto& [format, count] : weights_.formats()) info.tensors[std::string(name_of(format))] = count;
  return info;
}

}  // namespace castline
