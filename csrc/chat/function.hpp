// What can be called in a chat template, and what it is called with.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/program.hpp"
#include "chat/value.hpp"

namespace castline::chat {

struct Scope;

struct Function {
  enum class Kind { global, method, macro };

  Kind kind = Kind::global;
  std::string name;
  Value self;                        ///< of a method: what it belongs to
  const Statement* macro = nullptr;  ///< its definition
  Scope* scope = nullptr;            ///< where it was defined
};

/// The arguments of a call, taken by position or name; what has been taken is remembered.
class Arguments {
 public:
  Arguments(std::string_view function, std::vector<Value> positional,
            std::vector<std::pair<std::string, Value>> keywords)
      : function_(function), positional_(std::move(positional)), keywords_(std::move(keywords)) {}

  /// The next positional argument, or the one called `name`; null where neither was given.
  const Value* take(std::string_view name = {});
  /// As `take`, but its absence is an error.
  const Value& need(std::string_view name);
  std::string need_text(std::string_view name);
  /// As `take`, as a text, an integer or a truth; absent or none: the default.
  std::string take_text(std::string_view name, std::string_view standard);
  std::int64_t take_integer(std::string_view name, std::int64_t standard);
  bool take_truth(std::string_view name, bool standard);
  /// All positional arguments that are left.
  std::vector<Value> rest();
  /// All keywords that are left, which names nobody knows in advance.
  std::vector<std::pair<std::string, Value>> named_rest();
  /// An error where something was given that nothing took.
  void finish() const;

  const std::string& function() const { return function_; }

 private:
  std::string function_;
  std::vector<Value> positional_;
  std::vector<std::pair<std::string, Value>> keywords_;
  std::size_t next_ = 0;
};

/// Python's iteration: items, a mapping's keys, a text's characters; nothing of what is undefined.
std::vector<Value> iterate(const Value& value);

/// What `value.name` is: a method, a member, or undefined.
Value attribute(const Value& value, const std::string& name);
/// What `value[key]` is.
Value item(const Value& value, const Value& key);
/// Whether `container` holds `value`: `value in container`.
bool contains(const Value& container, const Value& value);

/// Whether a value has a method of that name.
bool has_method(const Value& value, std::string_view name);
/// Calls a method of a text or a mapping.
Value call_method(const Value& self, const std::string& name, Arguments arguments);

Value apply_filter(const std::string& name, const Value& value, Arguments arguments);
bool apply_test(const std::string& name, const Value& value, const std::vector<Value>& arguments);

/// Python's `len`.
std::size_t length_of(const Value& value);

}  // namespace castline::chat
