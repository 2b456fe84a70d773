// The values of a chat template: what Python's would be, as far as templates look.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.hpp"

namespace castline::chat {

class Value;
struct Macro;

/// Members in the order they were put in, as in a Python dict whose keys are strings.
using Members = std::vector<std::pair<std::string, Value>>;

/// A name that means nothing; printing it gives nothing, using it is an error that names it.
struct Undefined {
  std::string name;
};

/// A sequence; tuples differ from lists in how they print only.
struct Sequence {
  std::vector<Value> items;
  bool tuple = false;
};

struct Mapping {
  Members members;
  bool space = false;  ///< made by namespace(): its fields can be set

  const Value* find(std::string_view key) const;
  void set(const std::string& key, Value value);
};

/// A method of a value, or a function of the language, about to be called.
struct Function;

class Value {
 public:
  using Text = std::shared_ptr<const std::string>;
  using Items = std::shared_ptr<Sequence>;
  using Map = std::shared_ptr<Mapping>;
  using Callable = std::shared_ptr<const Function>;

  Value() = default;  ///< none
  explicit Value(Undefined undefined) : data_(std::move(undefined)) {}
  explicit Value(bool value) : data_(value) {}
  explicit Value(std::int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
  explicit Value(std::vector<Value> items, bool tuple = false);
  explicit Value(Mapping map);
  explicit Value(Callable function) : data_(std::move(function)) {}
  explicit Value(const json::Value& value);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_integer() || is_float(); }
  bool is_text() const { return std::holds_alternative<Text>(data_); }
  bool is_sequence() const { return std::holds_alternative<Items>(data_); }
  bool is_mapping() const { return std::holds_alternative<Map>(data_); }
  bool is_function() const { return std::holds_alternative<Callable>(data_); }

  bool boolean() const { return std::get<bool>(data_); }
  const std::string& text() const { return *std::get<Text>(data_); }
  const Sequence& sequence() const { return *std::get<Items>(data_); }
  const Mapping& mapping() const { return *std::get<Map>(data_); }
  Mapping& mapping() { return *std::get<Map>(data_); }
  const Function& function() const { return *std::get<Callable>(data_); }
  const Undefined& undefined() const { return std::get<Undefined>(data_); }

  /// The number as an integer; false and true are 0 and 1. Only for bools and integers.
  std::int64_t integer() const;
  /// The number, whatever its type.
  double number() const;

  /// Whether Python calls it true.
  bool truth() const;
  /// Whether both are one and the same object: `sameas`.
  bool same(const Value& other) const;

 private:
  std::variant<std::monostate, Undefined, bool, std::int64_t, double, Text, Items, Map, Callable> data_;
};

/// `a == b` in Python: numbers across types, sequences and mappings by what they hold.
bool equal(const Value& a, const Value& b);
/// `a < b` in Python: numbers, texts and sequences among themselves; anything else is an error.
bool less(const Value& a, const Value& b);

/// The type, as messages name it.
std::string_view type_name(const Value& value);
/// `str(value)` in Python.
std::string to_text(const Value& value);

struct JsonStyle {
  int indent = -1;  ///< negative: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
/// `json.dumps(value, ensure_ascii=False, …)` in Python.
std::string to_json(const Value& value, const JsonStyle& style = {});

/// Throws a usage error about a template that fails on what it was given.
[[noreturn]] void fail(const std::string& message);

}  // namespace castline::chat
