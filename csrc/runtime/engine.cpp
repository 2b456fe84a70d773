#include "runtime/engine.hpp"

#include <algorithm>
#include <chrono>

#include "base/error.hpp"
#include "kernels/decoder_kernels.hpp"
#include "runtime/cpu_backend.hpp"
#include "runtime/tensorrt/backend.hpp"

namespace castline {
namespace {

using Clock = std::chrono::steady_clock;

// Tokens between two questions whether to stop.
constexpr std::size_t kPiece = 512;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The engine whose call is running on this thread.
thread_local const Engine* running = nullptr;

}  // namespace

// One call at a time.
class Engine::Turn {
 public:
  explicit Turn(Engine& engine) {
    if (running == &engine) {
      throw_usage(
          "[engine] expected a callback not to call the engine that called it; collect, and call later");
    }
    lock_ = std::unique_lock(engine.mutex_);
    outer_ = running;
    running = &engine;
  }
  ~Turn() { running = outer_; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::unique_lock<std::mutex> lock_;
  const Engine* outer_ = nullptr;
};

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

Engine::Engine(const std::string& path, const EngineOptions& options) : package_(path) {
  if (options.threads < 0) {
    throw_usage("[engine] expected a number of threads of 0 or more, but got " +
                std::to_string(options.threads));
  }
  if (options.backend != "cpu" && options.backend != "auto" && options.backend != "tensorrt") {
    throw_usage("[engine] expected the backend cpu, tensorrt or auto, but got '" + options.backend + "'");
  }
  if (package_.has("tokenizer.json")) {
    tokenizer_ = std::make_shared<const Tokenizer>(
        Tokenizer::from_json(package_.map("tokenizer.json", "the tokenizer").text()));
  }
  backend_ = open_backend(package_, options, note_);
}

std::unique_ptr<Backend> Engine::open_backend(const Package& package, const EngineOptions& options,
                                              std::string& note) {
  if (options.backend == "tensorrt") return tensorrt::open_backend(package, options.tensorrt_path);
  if (options.backend == "auto" && !package.engines().empty()) {
    try {
      return tensorrt::open_backend(package, options.tensorrt_path);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::device) throw;
      note = error.what();
      if (!package.has(kCpuWeights)) {
        throw_device(note + "\n  and the package has no weights for the cpu backend");
      }
    }
  }
  return std::make_unique<CpuBackend>(package, options.threads);
}

const Tokenizer& Engine::require_tokenizer() const {
  if (!tokenizer_) {
    throw_usage("[tokenizer] expected a package with a tokenizer, but " + package_.location() +
                " has none; work with token ids");
  }
  return *tokenizer_;
}

void Engine::check_ids(std::span<const std::uint32_t> ids, std::size_t least, const char* where) const {
  const std::string at = std::string("[") + where + "] ";
  if (ids.size() < least) {
    throw_usage(at + "expected at least " + std::to_string(least) + (least == 1 ? " token" : " tokens") +
                ", but got " + std::to_string(ids.size()));
  }
  if (ids.size() > package_.max_context()) {
    throw_usage(at + "expected at most " + std::to_string(package_.max_context()) +
                " tokens, the context of this package, but got " + std::to_string(ids.size()));
  }
  for (const std::uint32_t id : ids) {
    if (id >= package_.model().vocab_size) {
      throw_usage(at + "expected token ids below the vocabulary's " +
                  std::to_string(package_.model().vocab_size) + ", but got " + std::to_string(id));
    }
  }
}

bool Engine::append(Sequence& sequence, std::span<const std::uint32_t> ids, std::size_t logits_from,
                    const LogitsSink& sink, const Interrupted& interrupted) {
  for (std::size_t done = 0; done < ids.size(); done += kPiece) {
    if (interrupted && interrupted()) return false;
    sequence.append(ids.subspan(done, std::min(kPiece, ids.size() - done)),
                    logits_from > done ? logits_from - done : 0,
                    [&](std::size_t index, std::span<const float> logits) { sink(done + index, logits); });
  }
  return true;
}

GenerateResult Engine::generate(std::span<const std::uint32_t> prompt, const GenerateOptions& options) {
  check_ids(prompt, 1, "generate");
  Sampler sampler(options.sampling);
  const Turn turn(*this);
  const std::size_t context = package_.max_context();
  // The last token of all is never fed back, so it needs no place in the context.
  const std::size_t limit = std::min(options.max_tokens, context - prompt.size() + 1);
  GenerateResult result;
  if (limit == 0) return result;

  std::optional<StreamDecoder> decoder;
  if (tokenizer_) decoder.emplace(*tokenizer_, true);
  const auto sequence = backend_->start(std::min(context, prompt.size() + limit));
  std::uint32_t next = 0;
  const LogitsSink choose = [&](std::size_t, std::span<const float> logits) {
    next = sampler.pick(logits, result.ids.size());
  };
  const auto stops = [&](std::uint32_t id) {
    const std::vector<std::uint32_t>& eos = package_.eos_ids();
    return std::find(eos.begin(), eos.end(), id) != eos.end();
  };
  const auto emit = [&](std::uint32_t id, const std::string& text) {
    result.text += text;
    return !options.on_token || options.on_token(id, text);
  };

  Clock::time_point start = Clock::now();
  if (!append(*sequence, prompt, prompt.size() - 1, choose, options.interrupted)) {
    result.finish_reason = FinishReason::cancelled;
    return result;
  }
  result.prefill_seconds = seconds_since(start);
  start = Clock::now();
  for (;;) {
    if (stops(next)) {
      result.finish_reason = FinishReason::stop;
      break;
    }
    result.ids.push_back(next);
    // A model may have more ids than its tokenizer (padding to a round number); those have no text.
    const bool has_text = decoder && next < tokenizer_->vocab_size();
    if (!emit(next, has_text ? decoder->push(next) : std::string())) {
      result.finish_reason = FinishReason::cancelled;
      break;
    }
    if (result.ids.size() == limit) break;
    const std::uint32_t last = next;
    if (!append(*sequence, {&last, 1}, 0, choose, options.interrupted)) {
      result.finish_reason = FinishReason::cancelled;
      break;
    }
  }
  if (decoder) {
    const std::string rest = decoder->finish();
    result.ends_inside_character = !rest.empty();
    result.text += rest;
  }
  result.decode_seconds = seconds_since(start);
  return result;
}

std::vector<float> Engine::score(std::span<const std::uint32_t> ids, const Interrupted& interrupted) {
  check_ids(ids, 2, "score");
  const Turn turn(*this);
  const kernels::DecoderKernels& kernels = kernels::decoder_kernels(kernels::cpu_level());
  std::vector<float> scores;
  scores.reserve(ids.size() - 1);
  const auto sequence = backend_->start(ids.size() - 1);
  const LogitsSink take = [&](std::size_t index, std::span<const float> logits) {
    scores.push_back(logits[ids[index + 1]] - kernels.log_sum_exp(logits.data(), logits.size()));
  };
  if (!append(*sequence, ids.first(ids.size() - 1), 0, take, interrupted)) scores.clear();
  return scores;
}

bool Engine::logits(std::span<const std::uint32_t> ids, std::span<float> out,
                    const Interrupted& interrupted) {
  check_ids(ids, 1, "logits");
  const Turn turn(*this);
  const std::size_t vocab = package_.model().vocab_size;
  if (out.size() != ids.size() * vocab) {
    throw_usage("[logits] expected room for " + std::to_string(ids.size() * vocab) + " floats, but got " +
                std::to_string(out.size()));
  }
  const auto sequence = backend_->start(ids.size());
  const LogitsSink copy = [&](std::size_t index, std::span<const float> logits) {
    std::copy(logits.begin(), logits.end(), out.begin() + static_cast<std::ptrdiff_t>(index * vocab));
  };
  return append(*sequence, ids, 0, copy, interrupted);
}

}  // namespace castline
