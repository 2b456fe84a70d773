#include "runtime/tensorrt/session.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.hpp"

namespace castline::tensorrt {
namespace {

// TensorRT asks for addresses at multiples of this.
constexpr std::size_t kAlignment = 256;
// Rows of logits that are copied to the host together.
constexpr std::size_t kLogitRows = 32;
// The profiles in the order compile/tensorrt.py adds them.
constexpr int kPrefill = 0;
constexpr int kDecode = 1;

std::size_t aligned(std::size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

[[noreturn]] void refuse(const std::string& rule) {
  throw_data("[tensorrt] expected an engine " + rule + "; compile the package again");
}

std::string to_string(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

const Tensor& find(const std::vector<Tensor>& tensors, const std::string& name, bool is_input,
                   ElementType type, std::size_t rank) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == name; });
  if (found == tensors.end()) refuse("with a tensor " + name + ", but it has none");
  if (found->is_input != is_input || found->type != type || found->shape.size() != rank) {
    refuse("whose " + name + " has another direction, type or rank than the one found, of shape " +
           to_string(found->shape));
  }
  return *found;
}

// One half of a layer's cache: its input and output, which share an address.
struct CacheHalf {
  std::string past;
  std::string present;
  std::vector<std::int64_t> shape;  // of one sequence
  std::size_t bytes = 0;
};

std::vector<CacheHalf> cache_of(const std::vector<Tensor>& tensors, const Expected& expected) {
  std::vector<CacheHalf> cache;
  for (std::size_t layer = 0; layer < expected.layers; ++layer) {
    for (const char* part : {".key", ".value"}) {
      CacheHalf half;
      half.past = "past_key_values." + std::to_string(layer) + part;
      half.present = "present." + std::to_string(layer) + part;
      const auto past =
          std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == half.past; });
      const ElementType type = past != tensors.end() ? past->type : ElementType::other;
      half.shape = find(tensors, half.past, true, type, 4).shape;
      find(tensors, half.present, false, type, 4);
      half.shape[0] = 1;
      half.bytes = size_of(type);
      for (const std::int64_t n : half.shape) {
        if (n < 1) refuse("with a cache of fixed size, but " + half.past + " is " + to_string(half.shape));
        half.bytes *= static_cast<std::size_t>(n);
      }
      if (half.bytes == 0) refuse("with a cache of floating point numbers, but " + half.past + " is not");
      if (static_cast<std::size_t>(half.shape[2]) < expected.max_context) {
        refuse("with room for the package's " + std::to_string(expected.max_context) + " tokens, but " +
               half.past + " is " + to_string(half.shape));
      }
      cache.push_back(std::move(half));
    }
  }
  // Another input would stay without an address.
  if (tensors.size() != 5 + 4 * expected.layers) {
    refuse("with " + std::to_string(5 + 4 * expected.layers) + " inputs and outputs, but it has " +
           std::to_string(tensors.size()));
  }
  return cache;
}

// What is not the cache.
void check_interface(const std::vector<Tensor>& tensors, int profiles, const Expected& expected) {
  for (const char* name : {"input_ids", "position_ids"}) find(tensors, name, true, ElementType::i64, 2);
  for (const char* name : {"write_indices", "logits_indices"}) find(tensors, name, true, ElementType::i64, 1);
  const Tensor& logits = find(tensors, "logits", false, ElementType::f32, 3);
  if (logits.shape[2] != static_cast<std::int64_t>(expected.vocab_size)) {
    refuse("with logits of the package's " + std::to_string(expected.vocab_size) + " tokens, but they are " +
           to_string(logits.shape));
  }
  if (profiles != 2) {
    refuse("with two optimisation profiles, prefill and decode, but it has " + std::to_string(profiles));
  }
}

}  // namespace

std::size_t size_of(ElementType type) {
  switch (type) {
    case ElementType::f32:
      return 4;
    case ElementType::f16:
    case ElementType::bf16:
      return 2;
    case ElementType::i64:
      return 8;
    case ElementType::other:
      return 0;
  }
  return 0;
}

// One optimisation profile with inputs and logits of its own; the cache is everyone's.
class Session::Phase {
 public:
  Phase(const cuda::Device& device, const cuda::Stream& stream, LoadedEngine& engine, int profile,
        const std::vector<CacheHalf>& cache, const cuda::DeviceMemory& cache_memory, std::size_t vocab_size)
      : stream_(stream),
        vocab_size_(vocab_size),
        most_tokens_(static_cast<std::size_t>(engine.largest("input_ids", profile).at(1))),
        most_logits_(static_cast<std::size_t>(engine.largest("logits_indices", profile).at(0))),
        positions_(aligned(most_tokens_ * sizeof(std::int64_t))),
        write_index_(2 * positions_),
        chosen_(write_index_ + kAlignment),
        inputs_(device, chosen_ + aligned(most_logits_ * sizeof(std::int64_t))),
        host_inputs_(device, inputs_.size()),
        logits_(device, most_logits_ * vocab_size * sizeof(float)),
        host_logits_(device, std::min(most_logits_, kLogitRows) * vocab_size * sizeof(float)),
        graph_(device),
        execution_(engine.execution(profile, stream.handle())) {
    execution_->set_address("input_ids", inputs_.address());
    execution_->set_address("position_ids", inputs_.address() + positions_);
    execution_->set_address("write_indices", inputs_.address() + write_index_);
    execution_->set_address("logits_indices", inputs_.address() + chosen_);
    execution_->set_address("logits", logits_.address());
    execution_->set_shape("write_indices", std::vector<std::int64_t>{1});
    cuda::Address address = cache_memory.address();
    for (const CacheHalf& half : cache) {
      execution_->set_shape(half.past, half.shape);
      execution_->set_address(half.past, address);
      execution_->set_address(half.present, address);
      address += aligned(half.bytes);
    }
    stream.wait();
  }

  std::size_t most_tokens() const { return most_tokens_; }
  std::size_t most_logits() const { return most_logits_; }
  bool replays() const { return graph_.recorded(); }

  void run(std::span<const std::uint32_t> tokens, std::size_t start, std::size_t logits,
           const LogitsSink& sink) {
    const std::size_t rows = std::max<std::size_t>(logits, 1);  // an engine always gives some
    fill_inputs(tokens, start, rows);
    if (replays()) {
      graph_.launch(stream_);
    } else {
      set_shapes(tokens.size(), rows);
      enqueue(rows);
    }
    const std::size_t first = tokens.size() - logits;
    for (std::size_t done = 0; done < logits; done += kLogitRows) {
      const std::size_t count = std::min(kLogitRows, logits - done);
      if (done > 0) read_logits(done, count);
      stream_.wait();
      for (std::size_t i = 0; i < count; ++i) {
        sink(first + done + i, {host_logits_.as<const float>() + i * vocab_size_, vocab_size_});
      }
    }
    if (logits == 0) stream_.wait();  // the inputs' memory is free again
  }

  // After a run with the same shapes: the same work as a CUDA graph from now on, where that can be recorded.
  void record() {
    if (tried_to_record_) return;
    tried_to_record_ = true;
    graph_.record(stream_, [&] { enqueue(1); });
  }

 private:
  void fill_inputs(std::span<const std::uint32_t> tokens, std::size_t start, std::size_t rows) {
    std::copy(tokens.begin(), tokens.end(), host_inputs_.as<std::int64_t>());
    auto* const positions = host_inputs_.as<std::int64_t>(positions_);
    for (std::size_t i = 0; i < tokens.size(); ++i) positions[i] = static_cast<std::int64_t>(start + i);
    *host_inputs_.as<std::int64_t>(write_index_) = static_cast<std::int64_t>(start);
    auto* const chosen = host_inputs_.as<std::int64_t>(chosen_);
    for (std::size_t i = 0; i < rows; ++i) {
      chosen[i] = static_cast<std::int64_t>(tokens.size() - rows + i);
    }
  }

  void set_shapes(std::size_t tokens, std::size_t rows) {
    const std::vector<std::int64_t> shape = {1, static_cast<std::int64_t>(tokens)};
    execution_->set_shape("input_ids", shape);
    execution_->set_shape("position_ids", shape);
    execution_->set_shape("logits_indices", std::vector<std::int64_t>{static_cast<std::int64_t>(rows)});
  }

  // Inputs to the GPU, the engine, the first logits back.
  void enqueue(std::size_t rows) {
    inputs_.write(stream_, host_inputs_.as<const void>(), inputs_.size());
    execution_->enqueue(stream_.handle());
    read_logits(0, std::min(rows, kLogitRows));
  }

  void read_logits(std::size_t from, std::size_t count) {
    const std::size_t row = vocab_size_ * sizeof(float);
    logits_.read(stream_, host_logits_.as<void>(), count * row, from * row);
  }

  const cuda::Stream& stream_;
  std::size_t vocab_size_;
  std::size_t most_tokens_;
  std::size_t most_logits_;
  // Where each input begins in the memory that they share, after the token ids.
  std::size_t positions_;
  std::size_t write_index_;
  std::size_t chosen_;
  cuda::DeviceMemory inputs_;
  cuda::HostMemory host_inputs_;
  cuda::DeviceMemory logits_;
  cuda::HostMemory host_logits_;
  cuda::Graph graph_;
  bool tried_to_record_ = false;
  std::unique_ptr<Execution> execution_;
};

Session::Session(const cuda::Device& device, std::unique_ptr<LoadedEngine> engine)
    : device_(device), engine_(std::move(engine)) {}

// Delegates, so that the destructor also runs where the body throws.
Session::Session(const cuda::Device& device, std::unique_ptr<LoadedEngine> engine, const Expected& expected)
    : Session(device, std::move(engine)) {
  const cuda::Device::Use use(device_);
  const std::vector<Tensor> tensors = engine_->tensors();
  check_interface(tensors, engine_->profiles(), expected);
  const std::vector<CacheHalf> cache = cache_of(tensors, expected);
  std::size_t bytes = 0;
  for (const CacheHalf& half : cache) bytes += aligned(half.bytes);
  stream_ = std::make_unique<cuda::Stream>(device_);
  cache_ = std::make_unique<cuda::DeviceMemory>(device_, bytes);
  // What is masked has the weight 0, and 0 times a NaN that lay in the memory would still be NaN.
  cache_->clear(*stream_);
  const auto phase = [&](int profile) {
    return std::make_unique<Phase>(device_, *stream_, *engine_, profile, cache, *cache_, expected.vocab_size);
  };
  prefill_ = phase(kPrefill);
  decode_ = phase(kDecode);
}

Session::~Session() {
  const cuda::Device::Use use(device_);
  decode_.reset();
  prefill_.reset();
  cache_.reset();
  stream_.reset();
  engine_.reset();
}

std::size_t Session::max_tokens() const { return prefill_->most_tokens(); }

std::size_t Session::max_logits() const { return prefill_->most_logits(); }

bool Session::replays_decoding() const { return decode_->replays(); }

void Session::step(std::span<const std::uint32_t> tokens, std::size_t start, std::size_t logits,
                   const LogitsSink& sink) {
  const cuda::Device::Use use(device_);
  if (tokens.size() > 1) {
    prefill_->run(tokens, start, logits, sink);
    return;
  }
  decode_->run(tokens, start, logits, sink);
  decode_->record();
}

}  // namespace castline::tensorrt
