// A package opened for running: tokenizer, backend, and what one does with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/backend.hpp"
#include "runtime/package.hpp"
#include "runtime/sampler.hpp"
#include "tokenizer/tokenizer.hpp"

namespace castline {

struct EngineOptions {
  std::string backend = "auto";  ///< cpu, tensorrt (an error where it cannot run), auto
  int threads = 0;               ///< 0: one per processor
  /// Where TensorRT's library is looked for: folders or files, separated by ':'. The environment variable
  /// CASTLINE_TENSORRT_PATH goes before it, the system's loader after it.
  std::string tensorrt_path = {};
};

/// True stops what is running. Asked between pieces of work, at least once per token.
using Interrupted = std::function<bool()>;

struct GenerateOptions {
  std::size_t max_tokens = 256;
  SamplingOptions sampling;
  /// Sees every new token and the text that it completes, whole characters; false stops.
  std::function<bool(std::uint32_t id, std::string_view text)> on_token;
  Interrupted interrupted;
};

enum class FinishReason {
  stop,       ///< a stop token came
  length,     ///< max_tokens, or the end of the context
  cancelled,  ///< on_token or interrupted said so
};

std::string_view name_of(FinishReason reason);

struct GenerateResult {
  std::vector<std::uint32_t> ids;  ///< the new tokens, the stop token excluded
  std::string text;                ///< their text without special tokens
  FinishReason finish_reason = FinishReason::length;
  bool ends_inside_character = false;  ///< text then ends in U+FFFD, which on_token did not see
  double prefill_seconds = 0.0;        ///< reading the prompt and choosing the first token
  double decode_seconds = 0.0;         ///< all tokens after the first
};

/// Calls from several threads take turns; a call from inside its own callback is a usage error.
class Engine {
 public:
  /// Opens the package at `path`, a folder or one file. Throws a data error for a damaged one, a device error
  /// where the backend asked for cannot run here.
  Engine(const std::string& path, const EngineOptions& options);

  const Package& package() const { return package_; }
  BackendInfo backend_info() const { return backend_->info(); }
  /// Why `auto` did not take a better backend that the package offers; empty where it did.
  const std::string& note() const { return note_; }
  /// Null for a package without a tokenizer.
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  /// The tokenizer, or a usage error for a package without one.
  const Tokenizer& require_tokenizer() const;

  /// Continues the prompt. Throws a usage error for an empty prompt, an id outside the vocabulary, a prompt
  /// longer than the context, or an option out of range.
  GenerateResult generate(std::span<const std::uint32_t> prompt, const GenerateOptions& options);

  /// The natural log-probability of ids[1:], each given all before it: [n - 1]. At least two ids. Empty when
  /// interrupted.
  std::vector<float> score(std::span<const std::uint32_t> ids, const Interrupted& interrupted = {});

  /// Writes the logits after every token to `out`, [n, vocab_size]. False when interrupted.
  bool logits(std::span<const std::uint32_t> ids, std::span<float> out, const Interrupted& interrupted = {});

 private:
  class Turn;

  static std::unique_ptr<Backend> open_backend(const Package& package, const EngineOptions& options,
                                               std::string& note);

  void check_ids(std::span<const std::uint32_t> ids, std::size_t least, const char* where) const;
  // Appends all of `ids` in pieces; false when interrupted.
  static bool append(Sequence& sequence, std::span<const std::uint32_t> ids, std::size_t logits_from,
                     const LogitsSink& sink, const Interrupted& interrupted);

  Package package_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string note_;
  std::unique_ptr<Backend> backend_;
  std::mutex mutex_;
};

}  // namespace castline
