// Pre-tokenisation: cutting text into the pieces that BPE then works on, each by itself.
//
// The regular expressions of the known patterns are scanned by hand, one alternative after the other
// as a regex engine tries them, in time linear in the text (scan.hpp).
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/scan.hpp"

namespace castline::tokenizer {

/// One way to cut a piece of text into smaller ones.
enum class Step {
  gpt2,          ///< the pattern of GPT-2
  cl100k,        ///< the pattern of GPT-4 and Llama 3
  qwen2,         ///< the pattern of Qwen 2
  digits,        ///< every numeric character by itself
  number_runs,   ///< every run of numeric characters by itself
  prefix_space,  ///< cuts nothing: puts a space before a piece that does not begin with one
};

/// The step that cuts by this regular expression, if it is a known one.
std::optional<Step> find_pattern(std::string_view regex);

/// Applies steps in turn, each to the pieces of the one before, as a Hugging Face pre-tokenizer does.
class Splitter {
 public:
  explicit Splitter(std::vector<Step> steps) : steps_(std::move(steps)) {}

  /// Calls sink(std::string_view) for every piece of `text`, which must be well-formed UTF-8, in order.
  /// Pieces that were given a space are views of copies, put into `copies`.
  template <class Sink>
  void split(std::string_view text, std::deque<std::string>& copies, Sink&& sink) const {
    apply(text, 0, copies, sink);
  }

 private:
  using Copies = std::deque<std::string>;

  template <class Sink>
  void apply(std::string_view text, std::size_t step, Copies& copies, Sink& sink) const;
  template <const char* (*next_piece)(const char*, const char*, const CharClasses&), class Sink>
  void cut(std::string_view text, std::size_t step, Copies& copies, Sink& sink) const;

  std::vector<Step> steps_;
  const CharClasses& classes_ = CharClasses::get();
};

template <class Sink>
void Splitter::apply(std::string_view text, std::size_t step, Copies& copies, Sink& sink) const {
  if (text.empty()) return;
  if (step == steps_.size()) return sink(text);
  switch (steps_[step]) {
    case Step::gpt2:
      return cut<scan::next_gpt2>(text, step, copies, sink);
    case Step::cl100k:
      return cut<scan::next_cl100k<3>>(text, step, copies, sink);
    case Step::qwen2:
      return cut<scan::next_cl100k<1>>(text, step, copies, sink);
    case Step::digits:
      return cut<scan::next_numeric<false>>(text, step, copies, sink);
    case Step::number_runs:
      return cut<scan::next_numeric<true>>(text, step, copies, sink);
    case Step::prefix_space:
      if (text.front() == ' ') return apply(text, step + 1, copies, sink);
      return apply(copies.emplace_back(" ").append(text), step + 1, copies, sink);
  }
}

template <const char* (*next_piece)(const char*, const char*, const CharClasses&), class Sink>
void Splitter::cut(std::string_view text, std::size_t step, Copies& copies, Sink& sink) const {
  const bool last = step + 1 == steps_.size();
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const char* const q = next_piece(p, end, classes_);
    const std::string_view piece(p, static_cast<std::size_t>(q - p));
    if (last) {
      sink(piece);
    } else {
      apply(piece, step + 1, copies, sink);
    }
    p = q;
  }
}

}  // namespace castline::tokenizer
