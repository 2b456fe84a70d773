// Continues a text with the model of a package, writing each piece as it comes:
//   generate PACKAGE PROMPT [MAX_TOKENS [TEMPERATURE [SEED]]]
#include <castline/castline.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: generate PACKAGE PROMPT [MAX_TOKENS [TEMPERATURE [SEED]]]\n");
    return 2;
  }
  try {
    castline::Engine engine(argv[1]);
    const castline::EngineInfo info = engine.info();
    std::fprintf(stderr, "%s, %s weights, %s, %d threads\n", info.backend.c_str(), info.weights.c_str(),
                 info.processor.c_str(), info.threads);
    castline::GenerateOptions options;
    if (argc > 3) options.max_tokens = std::strtoul(argv[3], nullptr, 10);
    if (argc > 4) options.temperature = std::strtof(argv[4], nullptr);
    if (argc > 5) options.seed = std::strtoull(argv[5], nullptr, 10);
    options.on_token = [](std::uint32_t, std::string_view text) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      return std::fflush(stdout) == 0;  // nobody is reading any more: stop
    };
    const castline::GenerateResult result = engine.generate(std::string_view(argv[2]), options);
    std::fprintf(stderr, "\n%zu tokens, %.1f per second\n", result.ids.size(),
                 static_cast<double>(result.ids.size()) / (result.prefill_seconds + result.decode_seconds));
  } catch (const castline::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::puts("");
}
