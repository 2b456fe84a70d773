#include "chat/chat_template.hpp"

#include "base/error.hpp"
#include "chat/renderer.hpp"

namespace castline {

ChatTemplate::ChatTemplate(std::string_view json, std::string_view where)
    : program_(chat::read_program(json::parse(json, where), where)) {}

std::string ChatTemplate::render(const json::Value& context, std::int64_t now) const {
  if (!context.is_object()) throw_usage("[chat template] expected an object with messages");
  const chat::Value values(context);
  return chat::Renderer(values.mapping(), now).run(program_);
}

}  // namespace castline
