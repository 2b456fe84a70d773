#include "tokenizer/splitter.hpp"

#include <array>

namespace castline::tokenizer {
namespace {

struct KnownPattern {
  std::string_view regex;
  Step step;
};

// Each exactly as the tokenizers in circulation write it.
constexpr std::array kPatterns{
    KnownPattern{R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", Step::gpt2},
    KnownPattern{R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", Step::gpt2},
    KnownPattern{
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        Step::cl100k},
    KnownPattern{
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        Step::qwen2},
};

}  // namespace

std::optional<Step> find_pattern(std::string_view regex) {
  for (const KnownPattern& pattern : kPatterns) {
    if (pattern.regex == regex) return pattern.step;
  }
  return std::nullopt;
}

}  // namespace castline::tokenizer
