// castline's runtime for C++20: RAII, std::string and exceptions over the C functions of castline.h.
//
//   castline::Engine engine("my-package");
//   std::cout << engine.generate("Once upon a time").text;
//
// Header only: what crosses into the library is the C interface, so any compiler and standard library will
// do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "castline/castline.h"

namespace castline {
// Names of their own for the linker: the library's classes are others.
inline namespace api {

/// Base of what the engine throws; the message says what was expected, what was found and what to do.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// An argument that may not be passed.
class UsageError : public Error {
 public:
  using Error::Error;
};
/// A damaged or foreign package.
class DataError : public Error {
 public:
  using Error::Error;
};
/// The machine lacks something: memory, a file, a GPU, a library.
class DeviceError : public Error {
 public:
  using Error::Error;
};

struct EngineOptions {
  std::string backend = "auto";  ///< cpu, tensorrt (an error where it cannot run), auto: the best there is
  int threads = 0;               ///< 0: one per processor; no result depends on it
  std::string tensorrt_path =
      {};  ///< where TensorRT's library is looked for: folders or files, separated by ':'
};

struct EngineInfo {
  std::size_t vocab_size = 0;
  std::size_t max_context = 0;
  int threads = 0;
  bool has_tokenizer = false;
  std::string backend;
  std::string weights;
  std::string processor;
  std::string note;         ///< why `auto` did not take a better backend; may be empty
  std::string engine_file;  ///< tensorrt: the engine that runs, its path in the package
  std::string library;      ///< tensorrt: what runs it, and its version
};

/// Sees a new token and the whole characters it completes; false stops.
using OnToken = std::function<bool(std::uint32_t id, std::string_view text)>;

struct GenerateOptions {
  std::size_t max_tokens = 256;
  float temperature = 0.0F;  ///< 0: greedy
  std::size_t top_k = 0;     ///< 0: all
  float top_p = 1.0F;
  std::uint64_t seed = 0;  ///< the same seed gives the same tokens on any number of threads
  OnToken on_token;
  std::function<bool()> should_stop;  ///< asked between pieces of work, also while a long prompt is read
};

struct GenerateResult {
  std::vector<std::uint32_t> ids;  ///< the stop token excluded
  std::string text;
  castline_finish_reason finish_reason = CASTLINE_FINISH_LENGTH;
  double prefill_seconds = 0.0;
  double decode_seconds = 0.0;
};

/// A package opened for running. May be used from several threads, whose calls take turns.
class Engine {
 public:
  explicit Engine(const std::string& package, const EngineOptions& options = {}) {
    castline_engine_options c = CASTLINE_ENGINE_OPTIONS_INIT;
    c.backend = options.backend.c_str();
    c.threads = options.threads;
    c.tensorrt_path = options.tensorrt_path.c_str();
    castline_engine* engine = nullptr;
    check(castline_engine_open(package.c_str(), &c, &engine));
    engine_.reset(engine);
  }

  EngineInfo info() const {
    castline_engine_info c = CASTLINE_ENGINE_INFO_INIT;
    check(castline_engine_get_info(engine_.get(), &c));
    return {c.vocab_size, c.max_context, c.threads, c.has_tokenizer != 0, c.backend,
            c.weights,    c.processor,   c.note,    c.engine_file,        c.library};
  }

  /// Compares the SHA-256 of every file with the manifest's.
  void verify() const { check(castline_engine_verify(engine_.get())); }

  std::vector<std::uint32_t> encode(std::string_view text, bool add_special = false) const {
    // A token is at least a byte long, but for the few that may surround a text.
    std::vector<std::uint32_t> ids(text.size() + 8);
    std::size_t count = 0;
    for (;;) {
      check(castline_encode(engine_.get(), text.data(), text.size(), add_special, ids.data(), ids.size(),
                            &count));
      const bool fits = count <= ids.size();
      ids.resize(count);
      if (fits) return ids;
    }
  }

  std::string decode(std::span<const std::uint32_t> ids, bool skip_special = false) const {
    std::size_t length = 0;
    check(castline_decode(engine_.get(), ids.data(), ids.size(), skip_special, nullptr, 0, &length));
    std::string text(length, '\0');
    check(castline_decode(engine_.get(), ids.data(), ids.size(), skip_special, text.data(), text.size(),
                          &length));
    return text;
  }

  GenerateResult generate(std::span<const std::uint32_t> prompt, const GenerateOptions& options = {}) {
    Run run{options, {}, nullptr};
    castline_generate_options c = CASTLINE_GENERATE_OPTIONS_INIT;
    c.max_tokens = options.max_tokens;
    c.temperature = options.temperature;
    c.top_k = options.top_k;
    c.top_p = options.top_p;
    c.seed = options.seed;
    c.on_token = &Run::on_token;
    c.should_stop = options.should_stop ? &Run::should_stop : nullptr;
    c.user = &run;
    castline_generate_result done = CASTLINE_GENERATE_RESULT_INIT;
    const castline_status status = castline_generate(engine_.get(), prompt.data(), prompt.size(), &c, &done);
    if (run.thrown) std::rethrow_exception(run.thrown);
    check(status);
    if (done.ends_inside_character != 0) run.result.text += "\xEF\xBF\xBD";  // U+FFFD
    run.result.finish_reason = done.finish_reason;
    run.result.prefill_seconds = done.prefill_seconds;
    run.result.decode_seconds = done.decode_seconds;
    return std::move(run.result);
  }

  /// Continues a text, with what the tokenizer adds around one.
  GenerateResult generate(std::string_view prompt, const GenerateOptions& options = {}) {
    return generate(std::span<const std::uint32_t>(encode(prompt, true)), options);
  }

  /// The natural log-probability of ids[1:], each given all before it.
  std::vector<float> score(std::span<const std::uint32_t> ids) {
    std::vector<float> scores(ids.empty() ? 0 : ids.size() - 1);
    check(castline_score(engine_.get(), ids.data(), ids.size(), scores.data()));
    return scores;
  }

  /// The logits after every token: [ids, vocab_size].
  std::vector<float> logits(std::span<const std::uint32_t> ids) {
    std::vector<float> logits(ids.size() * info().vocab_size);
    check(castline_logits(engine_.get(), ids.data(), ids.size(), logits.data(), logits.size()));
    return logits;
  }

 private:
  struct Close {
    void operator()(castline_engine* engine) const { castline_engine_close(engine); }
  };

  // One generate call; an exception of a callback waits here until the library has returned.
  struct Run {
    const GenerateOptions& options;
    GenerateResult result;
    std::exception_ptr thrown;

    template <typename Call>
    int guarded(const Call& call) {
      try {
        return call() ? 1 : 0;
      } catch (...) {
        thrown = std::current_exception();
        return 1;
      }
    }
    static int on_token(void* user, const castline_token* token) {
      Run& run = *static_cast<Run*>(user);
      return run.guarded([&] {
        const std::string_view text(token->text, token->text_length);
        run.result.ids.push_back(token->id);
        run.result.text += text;
        return run.options.on_token && !run.options.on_token(token->id, text);
      });
    }
    static int should_stop(void* user) {
      Run& run = *static_cast<Run*>(user);
      return run.guarded([&] { return run.options.should_stop(); });
    }
  };

  static void check(castline_status status) {
    switch (status) {
      case CASTLINE_OK:
        return;
      case CASTLINE_ERROR_USAGE:
        throw UsageError(castline_last_error());
      case CASTLINE_ERROR_DATA:
        throw DataError(castline_last_error());
      case CASTLINE_ERROR_DEVICE:
        throw DeviceError(castline_last_error());
      default:
        throw Error(castline_last_error());
    }
  }

  std::unique_ptr<castline_engine, Close> engine_;
};

}  // namespace api
}  // namespace castline
