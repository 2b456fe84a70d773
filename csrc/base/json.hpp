// A small JSON reader (RFC 8259) for manifests, tokenizer.json and safetensors headers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace castline::json {

class Value;
using Array = std::vector<Value>;
/// Members in the order of the file; lookups are linear, so large maps are walked, not searched.
using Object = std::vector<std::pair<std::string, Value>>;

/// One JSON value. The typed getters throw a data error that names `where` when the type differs.
class Value {
 public:
  Value() = default;
  explicit Value(bool v) : data_(v) {}
  explicit Value(std::int64_t v) : data_(v) {}
  explicit Value(double v) : data_(v) {}
  explicit Value(std::string v) : data_(std::move(v)) {}
  explicit Value(Array v) : data_(std::move(v)) {}
  explicit Value(Object v) : data_(std::move(v)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_number() const { return is_integer() || std::holds_alternative<double>(data_); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_array() const { return std::holds_alternative<Array>(data_); }
  bool is_object() const { return std::holds_alternative<Object>(data_); }

  bool as_bool(std::string_view where) const;
  std::int64_t as_integer(std::string_view where) const;
  double as_number(std::string_view where) const;
  const std::string& as_string(std::string_view where) const;
  const Array& as_array(std::string_view where) const;
  const Object& as_object(std::string_view where) const;

  /// The member `key` of an object, or nullptr.
  const Value* find(std::string_view key) const;
  /// The member `key`, or a data error naming `where`.
  const Value& at(std::string_view key, std::string_view where) const;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> data_;
};

/// Parses one document; text that is not UTF-8 is an error. Integers that fit 64 bits stay integers. Nesting
/// is limited to 256 levels. Throws a data error `[where] … at offset N`.
Value parse(std::string_view text, std::string_view where);

}  // namespace castline::json
