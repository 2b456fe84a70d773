#include <algorithm>

#include "chat/function.hpp"

namespace castline::chat {

const Value* Arguments::take(std::string_view name) {
  if (next_ < positional_.size()) return &positional_[next_++];
  for (auto& [keyword, value] : keywords_) {
    if (keyword == name && !name.empty()) {
      keyword.clear();  // taken
      return &value;
    }
  }
  return nullptr;
}

const Value& Arguments::need(std::string_view name) {
  const Value* value = take(name);
  if (value == nullptr) fail("[" + function_ + "] expected the argument '" + std::string(name) + "'");
  return *value;
}

std::string Arguments::need_text(std::string_view name) {
  const Value& value = need(name);
  if (!value.is_text()) {
    fail("[" + function_ + "] expected a string as '" + std::string(name) + "', but got " +
         std::string(type_name(value)));
  }
  return value.text();
}

std::string Arguments::take_text(std::string_view name, std::string_view standard) {
  const Value* value = take(name);
  if (value == nullptr || value->is_none()) return std::string(standard);
  if (!value->is_text()) {
    fail("[" + function_ + "] expected a string as '" + std::string(name) + "', but got " +
         std::string(type_name(*value)));
  }
  return value->text();
}

std::int64_t Arguments::take_integer(std::string_view name, std::int64_t standard) {
  const Value* value = take(name);
  if (value == nullptr || value->is_none()) return standard;
  if (!value->is_integer() && !value->is_bool()) {
    fail("[" + function_ + "] expected an integer as '" + std::string(name) + "', but got " +
         std::string(type_name(*value)));
  }
  return value->integer();
}

bool Arguments::take_truth(std::string_view name, bool standard) {
  const Value* value = take(name);
  return value == nullptr ? standard : value->truth();
}

std::vector<Value> Arguments::rest() {
  std::vector<Value> values(positional_.begin() + static_cast<std::ptrdiff_t>(next_), positional_.end());
  next_ = positional_.size();
  return values;
}

std::vector<std::pair<std::string, Value>> Arguments::named_rest() {
  auto named = std::move(keywords_);
  keywords_.clear();
  std::erase_if(named, [](const auto& pair) { return pair.first.empty(); });
  return named;
}

void Arguments::finish() const {
  if (next_ < positional_.size()) {
    fail("[" + function_ + "] expected at most " + std::to_string(next_) + " arguments, but got " +
         std::to_string(positional_.size()));
  }
  for (const auto& [keyword, value] : keywords_) {
    if (!keyword.empty()) fail("[" + function_ + "] expected no argument called '" + keyword + "'");
  }
}

}  // namespace castline::chat
