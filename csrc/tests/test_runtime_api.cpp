// The public headers over a small package: what an embedding program sees. Nothing internal is included but
// the package writer.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "castline/castline.hpp"
#include "check.hpp"
#include "tiny_package.hpp"

namespace {

using castline::test::TemporaryFolder;
using castline::test::tiny_manifest;
using castline::test::tiny_weights;
using Ids = std::vector<std::uint32_t>;

void write(const TemporaryFolder& folder, const std::string& generation) {
  const std::string weights = tiny_weights();
  folder.write("cpu/weights.safetensors", weights);
  folder.write("package.json", tiny_manifest(weights, generation));
}

void test_engine(const std::string& folder) {
  castline::Engine engine(folder, {.backend = "cpu", .threads = 2});
  const castline::EngineInfo info = engine.info();
  CHECK(info.vocab_size == 40 && info.max_context == 64 && info.threads == 2 && !info.has_tokenizer);
  CHECK(info.backend == "cpu" && info.weights == "f32" && !info.processor.empty() && info.note.empty());
  engine.verify();

  const Ids prompt = {5, 6, 7};
  Ids seen;
  castline::GenerateOptions options;
  options.max_tokens = 10;
  options.on_token = [&](std::uint32_t id, std::string_view text) {
    CHECK(text.empty());
    seen.push_back(id);
    return true;
  };
  const castline::GenerateResult result = engine.generate(prompt, options);
  CHECK(result.ids == seen && seen.size() == 10);
  CHECK(result.finish_reason == CASTLINE_FINISH_LENGTH);

  // Greedy tokens are the largest logits, and scores the logits' log-softmax.
  Ids all = prompt;
  all.insert(all.end(), seen.begin(), seen.end());
  const std::vector<float> logits = engine.logits(all);
  const std::vector<float> scores = engine.score(all);
  CHECK(logits.size() == all.size() * 40 && scores.size() == all.size() - 1);
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    const float* row = logits.data() + i * 40;
    if (i + 1 >= prompt.size()) CHECK(std::max_element(row, row + 40) - row == static_cast<long>(all[i + 1]));
    double sum = 0.0;
    for (int j = 0; j < 40; ++j) sum += std::exp(static_cast<double>(row[j]));
    CHECK(std::fabs(scores[i] - (row[all[i + 1]] - std::log(sum))) < 1e-5);
  }

  options.on_token = [&](std::uint32_t, std::string_view) { return false; };
  CHECK(engine.generate(prompt, options).finish_reason == CASTLINE_FINISH_CANCELLED);
  options.on_token = nullptr;
  options.should_stop = [] { return true; };
  CHECK(engine.generate(prompt, options).ids.empty());
  options.should_stop = nullptr;
  options.on_token = [](std::uint32_t, std::string_view) -> bool { throw std::logic_error("mine"); };
  CHECK_THROWS(engine.generate(prompt, options), "mine");
  options.on_token = [&](std::uint32_t, std::string_view) { return engine.score(prompt).empty(); };
  CHECK_THROWS(engine.generate(prompt, options), "callback not to call the engine");
  options.on_token = nullptr;

  // Threads take turns and get what they would get alone.
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  for (Ids& ids : found) threads.emplace_back([&] { ids = engine.generate(prompt, options).ids; });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : found) CHECK(ids == seen);
}

void test_errors(const std::string& folder) {
  using castline::DataError;
  using castline::UsageError;
  CHECK_THROWS(castline::Engine("/nonexistent"), "`castline compile` makes one");
  CHECK_THROWS(castline::Engine(folder, {.backend = "abacus", .threads = 0}), "'abacus'");
  castline::Engine engine(folder);
  bool usage = false;
  try {
    engine.generate(Ids{});
  } catch (const UsageError&) {
    usage = true;
  }
  CHECK(usage);
  bool data = false;
  try {
    castline::Engine("/nonexistent");
  } catch (const DataError&) {
    data = true;
  }
  CHECK(data);
  CHECK_THROWS(engine.generate(Ids(65, 1)), "at most 64 tokens, the context of this package, but got 65");
  CHECK_THROWS(engine.encode("text"), "has none; work with token ids");
  CHECK_THROWS(engine.score(Ids{1}), "at least 2 tokens, but got 1");
}

// What C callers can get wrong, and structures of other versions.
void test_c_interface(const std::string& folder) {
  castline_engine* engine = nullptr;
  CHECK(castline_engine_open(nullptr, nullptr, &engine) == CASTLINE_ERROR_USAGE);
  CHECK(std::string(castline_last_error()).find("NULL") != std::string::npos);
  CHECK(castline_engine_open(folder.c_str(), nullptr, &engine) == CASTLINE_OK);
  castline_engine_close(nullptr);

  castline_generate_options options = CASTLINE_GENERATE_OPTIONS_INIT;
  options.max_tokens = 3;
  castline_generate_result result = CASTLINE_GENERATE_RESULT_INIT;
  const std::uint32_t prompt[] = {4, 5};
  CHECK(castline_generate(engine, prompt, 2, &options, &result) == CASTLINE_OK);
  CHECK(result.token_count == 3 && result.size == sizeof result);

  options.size = 0;
  CHECK(castline_generate(engine, prompt, 2, &options, &result) == CASTLINE_ERROR_USAGE);
  CHECK(std::string(castline_last_error()).find("size field of castline_generate_options") !=
        std::string::npos);
  options.size = offsetof(castline_generate_options, temperature);  // an older header
  CHECK(castline_generate(engine, prompt, 2, &options, nullptr) == CASTLINE_OK);
  struct Newer {
    castline_generate_options known;
    std::size_t added;
  } newer = {CASTLINE_GENERATE_OPTIONS_INIT, 0};
  newer.known.size = sizeof newer;
  newer.known.max_tokens = 1;
  CHECK(castline_generate(engine, prompt, 2, &newer.known, nullptr) == CASTLINE_OK);
  newer.added = 1;
  CHECK(castline_generate(engine, prompt, 2, &newer.known, nullptr) == CASTLINE_ERROR_USAGE);
  castline_generate_result old = CASTLINE_GENERATE_RESULT_INIT;
  old.size = offsetof(castline_generate_result, finish_reason);
  old.prefill_seconds = -1.0;
  CHECK(castline_generate(engine, prompt, 2, nullptr, &old) == CASTLINE_OK);
  CHECK(old.token_count > 0 && old.prefill_seconds == -1.0);  // nothing written past the size
  float few[3];
  CHECK(castline_logits(engine, prompt, 2, few, 3) == CASTLINE_ERROR_USAGE);
  castline_engine_close(engine);
}

}  // namespace

int main() {
  const TemporaryFolder folder;
  write(folder, R"({"eos_ids": [], "bos_id": null, "max_context": 64})");
  test_engine(folder.path());
  test_errors(folder.path());
  test_c_interface(folder.path());
  return castline::test::finish();
}
