// A checkpoint's chat template as its package carries it: messages in, prompt text out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.hpp"
#include "chat/program.hpp"

namespace castline {

/// Renders conversations as jinja2 would in transformers' sandbox. Several threads may render at once.
class ChatTemplate {
 public:
  /// Reads what compile/chat_template.py wrote. Throws a data error naming `where`.
  ChatTemplate(std::string_view json, std::string_view where);

  /// The text for a context, an object: `messages`, `add_generation_prompt`, and what else the template knows
  /// (`tools`, `bos_token`, …).
  /// @param now seconds since 1970 for `strftime_now`, in the machine's time zone
  /// Throws a usage error where the template fails on this context, or says so itself (`raise_exception`).
  std::string render(const json::Value& context, std::int64_t now) const;

 private:
  chat::Program program_;
};

}  // namespace castline
