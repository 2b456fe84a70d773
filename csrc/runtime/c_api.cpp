// castline.h over Engine: exceptions become statuses, structures are read up to the size both sides know.
#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "castline/castline.h"
#include "runtime/engine.hpp"

// The handle of the C interface.
struct castline_engine {
  castline_engine(const std::string& package, const castline::EngineOptions& options)
      : engine(package, options), backend(engine.backend_info()) {}

  castline::Engine engine;
  castline::BackendInfo backend;  // keeps the strings of castline_engine_info alive
};

namespace {

using castline::Error;
using castline::ErrorKind;

thread_local std::string last_error;

castline_status fail(castline_status status, const char* message) {
  try {
    last_error = message;
  } catch (const std::bad_alloc&) {
    last_error.clear();
  }
  return status;
}

// Runs `call`; whatever it throws becomes a status and the thread's last error.
template <typename Call>
castline_status guarded(const Call& call) noexcept {
  try {
    call();
    return CASTLINE_OK;
  } catch (const Error& error) {
    switch (error.kind()) {
      case ErrorKind::usage:
        return fail(CASTLINE_ERROR_USAGE, error.what());
      case ErrorKind::data:
        return fail(CASTLINE_ERROR_DATA, error.what());
      case ErrorKind::device:
        return fail(CASTLINE_ERROR_DEVICE, error.what());
    }
    return fail(CASTLINE_ERROR_INTERNAL, error.what());
  } catch (const std::bad_alloc&) {
    return fail(CASTLINE_ERROR_DEVICE,
                "[memory] expected enough memory, but got none; use a smaller context or prompt");
  } catch (const std::exception& error) {
    return fail(CASTLINE_ERROR_INTERNAL, error.what());
  } catch (...) {
    return fail(CASTLINE_ERROR_INTERNAL, "an unknown exception");
  }
}

void require(const void* pointer, const char* name) {
  if (pointer == nullptr) castline::throw_usage(std::string("[c api] expected ") + name + ", but got NULL");
}

void require_size(std::size_t size, std::size_t least, const char* name) {
  if (size < least) {
    castline::throw_usage(std::string("[c api] expected the size field of ") + name +
                          " to be set to sizeof the structure, but got " + std::to_string(size));
  }
}

// The caller's structure over our defaults. Bytes beyond what this library knows must be 0: a newer
// header's option would otherwise be dropped in silence.
template <typename Options>
Options read_options(const Options* given, const Options& defaults, const char* name) {
  Options options = defaults;
  if (given == nullptr) return options;
  require_size(given->size, sizeof(std::size_t), name);
  std::memcpy(&options, given, std::min(given->size, sizeof(Options)));
  const char* bytes = reinterpret_cast<const char*>(given);
  for (std::size_t i = sizeof(Options); i < given->size; ++i) {
    if (bytes[i] != 0) {
      castline::throw_usage(std::string("[c api] expected only the options of ") + name +
                            " that castline " CASTLINE_VERSION
                            " knows, but got a newer one; update the library");
    }
  }
  return options;
}

template <typename Result>
void write_result(Result* out, Result result, const char* name) {
  require_size(out->size, sizeof(std::size_t), name);
  result.size = out->size;
  std::memcpy(out, &result, std::min(out->size, sizeof(Result)));
}

std::span<const std::uint32_t> ids_of(const std::uint32_t* ids, std::size_t count) {
  if (count > 0) require(ids, "ids");
  return {ids, count};
}

castline_finish_reason reason_of(castline::FinishReason reason) {
  switch (reason) {
    case castline::FinishReason::stop:
      return CASTLINE_FINISH_STOP;
    case castline::FinishReason::length:
      return CASTLINE_FINISH_LENGTH;
    case castline::FinishReason::cancelled:
      return CASTLINE_FINISH_CANCELLED;
  }
  return CASTLINE_FINISH_LENGTH;
}

}  // namespace

const char* castline_version(void) { return CASTLINE_VERSION; }

const char* castline_last_error(void) { return last_error.c_str(); }

castline_status castline_engine_open(const char* package, const castline_engine_options* options,
                                     castline_engine** engine) {
  return guarded([&] {
    require(engine, "engine");
    *engine = nullptr;
    require(package, "package");
    const castline_engine_options given = read_options(
        options, castline_engine_options CASTLINE_ENGINE_OPTIONS_INIT, "castline_engine_options");
    castline::EngineOptions opened;
    if (given.backend != nullptr) opened.backend = given.backend;
    opened.threads = given.threads;
    if (given.tensorrt_path != nullptr) opened.tensorrt_path = given.tensorrt_path;
    *engine = new castline_engine(package, opened);
  });
}

void castline_engine_close(castline_engine* engine) { delete engine; }

castline_status castline_engine_get_info(const castline_engine* engine, castline_engine_info* info) {
  return guarded([&] {
    require(engine, "engine");
    require(info, "info");
    castline_engine_info found = CASTLINE_ENGINE_INFO_INIT;
    found.vocab_size = engine->engine.package().model().vocab_size;
    found.max_context = engine->engine.package().max_context();
    found.threads = engine->backend.threads;
    found.has_tokenizer = engine->engine.tokenizer() ? 1 : 0;
    found.backend = engine->backend.name.c_str();
    found.weights = engine->backend.weights.c_str();
    found.processor = engine->backend.processor.c_str();
    found.note = engine->engine.note().c_str();
    found.engine_file = engine->backend.engine.c_str();
    found.library = engine->backend.library.c_str();
    write_result(info, found, "castline_engine_info");
  });
}

castline_status castline_engine_verify(const castline_engine* engine) {
  return guarded([&] {
    require(engine, "engine");
    engine->engine.package().verify();
  });
}

castline_status castline_encode(const castline_engine* engine, const char* text, size_t length,
                                int add_special, uint32_t* ids, size_t capacity, size_t* count) {
  return guarded([&] {
    require(engine, "engine");
    require(count, "count");
    if (length > 0) require(text, "text");
    if (capacity > 0) require(ids, "ids");
    std::vector<std::uint32_t> found;
    engine->engine.require_tokenizer().encode({text, length}, found, add_special != 0);
    std::copy_n(found.begin(), std::min(capacity, found.size()), ids);
    *count = found.size();
  });
}

castline_status castline_decode(const castline_engine* engine, const uint32_t* ids, size_t count,
                                int skip_special, char* text, size_t capacity, size_t* length) {
  return guarded([&] {
    require(engine, "engine");
    require(length, "length");
    if (capacity > 0) require(text, "text");
    castline::StreamDecoder decoder(engine->engine.require_tokenizer(), skip_special != 0);
    std::string found;
    for (const std::uint32_t id : ids_of(ids, count)) found += decoder.push(id);
    found += decoder.finish();
    std::copy_n(found.begin(), std::min(capacity, found.size()), text);
    *length = found.size();
  });
}

castline_status castline_generate(castline_engine* engine, const uint32_t* prompt, size_t count,
                                  const castline_generate_options* options,
                                  castline_generate_result* result) {
  return guarded([&] {
    require(engine, "engine");
    const castline_generate_options given = read_options(
        options, castline_generate_options CASTLINE_GENERATE_OPTIONS_INIT, "castline_generate_options");
    if (result != nullptr) require_size(result->size, sizeof(std::size_t), "castline_generate_result");
    castline::GenerateOptions generate;
    generate.max_tokens = given.max_tokens;
    generate.sampling = {
        .temperature = given.temperature, .top_k = given.top_k, .top_p = given.top_p, .seed = given.seed};
    if (given.on_token != nullptr) {
      generate.on_token = [&](std::uint32_t id, std::string_view text) {
        const castline_token token = {sizeof(castline_token), id, text.data(), text.size()};
        return given.on_token(given.user, &token) == 0;
      };
    }
    if (given.should_stop != nullptr) {
      generate.interrupted = [&] { return given.should_stop(given.user) != 0; };
    }
    const castline::GenerateResult done = engine->engine.generate(ids_of(prompt, count), generate);
    if (result == nullptr) return;
    castline_generate_result out = CASTLINE_GENERATE_RESULT_INIT;
    out.token_count = done.ids.size();
    out.finish_reason = reason_of(done.finish_reason);
    out.ends_inside_character = done.ends_inside_character ? 1 : 0;
    out.prefill_seconds = done.prefill_seconds;
    out.decode_seconds = done.decode_seconds;
    write_result(result, out, "castline_generate_result");
  });
}

castline_status castline_score(castline_engine* engine, const uint32_t* ids, size_t count,
                               float* log_probabilities) {
  return guarded([&] {
    require(engine, "engine");
    if (count > 1) require(log_probabilities, "log_probabilities");
    const std::vector<float> scores = engine->engine.score(ids_of(ids, count));
    std::copy(scores.begin(), scores.end(), log_probabilities);
  });
}

castline_status castline_logits(castline_engine* engine, const uint32_t* ids, size_t count, float* logits,
                                size_t capacity) {
  return guarded([&] {
    require(engine, "engine");
    require(logits, "logits");
    engine->engine.logits(ids_of(ids, count), {logits, capacity});
  });
}
