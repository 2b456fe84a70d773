#include "chat/value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "chat/function.hpp"
#include "text/unicode.hpp"

namespace castline::chat {
namespace {

// Deeper values are refused: they would not fit the stack.
constexpr int kDeepest = 256;

void check_depth(int depth) {
  if (depth > kDeepest) fail("expected at most 256 levels of nesting, but got more");
}

// The shortest digits that read back as the same number, written as Python writes them.
std::string float_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  const std::string_view whole(buffer, static_cast<std::size_t>(end - buffer));
  const std::size_t e = whole.find('e');
  int exponent = 0;
  const char* digits = whole.data() + e + 1;
  std::from_chars(*digits == '+' ? digits + 1 : digits, end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(whole);
  char fixed[64];
  const auto stop = std::to_chars(fixed, fixed + sizeof fixed, number, std::chars_format::fixed).ptr;
  std::string text(fixed, stop);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

void append_escaped(char32_t code, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  const int digits = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
  out += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
  for (int i = digits - 1; i >= 0; --i) out += kHex[code >> 4 * i & 15];
}

// str.isprintable() of one character.
bool is_printable(char32_t code) {
  using text::CharClass;
  const CharClass found = text::char_classes()[code];
  if (code == ' ' || code == 0xFFFD) return true;
  return found != CharClass::newline && found != CharClass::space && found != CharClass::format &&
         found != CharClass::abnormal;
}

// repr() of a text.
std::string quoted(const std::string& text) {
  const bool single = text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
  const char quote = single ? '"' : '\'';
  std::string out(1, quote);
  for (const char* p = text.data(); p != text.data() + text.size();) {
    const char32_t code = utf8::next(p);
    if (code == static_cast<unsigned char>(quote) || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += "\\n";
    } else if (code == '\r') {
      out += "\\r";
    } else if (code == '\t') {
      out += "\\t";
    } else if (!is_printable(code)) {
      append_escaped(code, out);
    } else {
      utf8::append(code, out);
    }
  }
  return out + quote;
}

void append_repr(const Value& value, std::string& out, int depth);

void append_str(const Value& value, std::string& out, int depth) {
  check_depth(depth);
  if (value.is_undefined()) return;
  if (value.is_none()) {
    out += "None";
  } else if (value.is_bool()) {
    out += value.boolean() ? "True" : "False";
  } else if (value.is_integer()) {
    out += std::to_string(value.integer());
  } else if (value.is_float()) {
    out += float_text(value.number());
  } else if (value.is_text()) {
    out += value.text();
  } else if (value.is_sequence()) {
    const Sequence& sequence = value.sequence();
    out += sequence.tuple ? '(' : '[';
    for (std::size_t i = 0; i < sequence.items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(sequence.items[i], out, depth + 1);
    }
    if (sequence.tuple && sequence.items.size() == 1) out += ',';
    out += sequence.tuple ? ')' : ']';
  } else if (value.is_mapping() && !value.mapping().space) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : value.mapping().members) {
      if (!first) out += ", ";
      first = false;
      out += quoted(key) + ": ";
      append_repr(member, out, depth + 1);
    }
    out += '}';
  } else {
    fail("expected a value that can be printed, but got " + std::string(type_name(value)));
  }
}

void append_repr(const Value& value, std::string& out, int depth) {
  if (value.is_text()) {
    out += quoted(value.text());
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else {
    append_str(value, out, depth);
  }
}

void append_json_text(const std::string& text, std::string& out) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (byte < 0x20) {
          constexpr char kHex[] = "0123456789abcdef";
          out += "\\u00";
          out += kHex[byte >> 4];
          out += kHex[byte & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

class JsonPrinter {
 public:
  JsonPrinter(const JsonStyle& style, std::string& out) : style_(style), out_(out) {}

  void print(const Value& value, int depth) {
    check_depth(depth);
    if (value.is_none()) {
      out_ += "null";
    } else if (value.is_bool()) {
      out_ += value.boolean() ? "true" : "false";
    } else if (value.is_text()) {
      append_json_text(value.text(), out_);
    } else if (value.is_float()) {
      const std::string text = float_text(value.number());
      out_ += text == "nan" ? "NaN" : text == "inf" ? "Infinity" : text == "-inf" ? "-Infinity" : text;
    } else if (value.is_integer()) {
      out_ += std::to_string(value.integer());
    } else if (value.is_sequence()) {
      const auto& items = value.sequence().items;
      print_all('[', ']', items.size(), depth, [&](std::size_t i) { print(items[i], depth + 1); });
    } else if (value.is_mapping() && !value.mapping().space) {
      Members members = value.mapping().members;
      if (style_.sort_keys) {
        std::stable_sort(members.begin(), members.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
      }
      print_all('{', '}', members.size(), depth, [&](std::size_t i) {
        append_json_text(members[i].first, out_);
        out_ += style_.key_separator;
        print(members[i].second, depth + 1);
      });
    } else {
      fail("[tojson] expected a value that JSON has, but got " + std::string(type_name(value)));
    }
  }

 private:
  template <typename PrintItem>
  void print_all(char open, char close, std::size_t count, int depth, const PrintItem& print_item) {
    out_ += open;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out_ += style_.item_separator;
      break_line(depth + 1);
      print_item(i);
    }
    if (count > 0) break_line(depth);
    out_ += close;
  }

  void break_line(int depth) {
    if (style_.indent < 0) return;
    out_ += '\n';
    out_.append(static_cast<std::size_t>(style_.indent) * static_cast<std::size_t>(depth), ' ');
  }

  const JsonStyle& style_;
  std::string& out_;
};

}  // namespace

const Value* Mapping::find(std::string_view key) const {
  for (const auto& [name, value] : members) {
    if (name == key) return &value;
  }
  return nullptr;
}

void Mapping::set(const std::string& key, Value value) {
  for (auto& [name, present] : members) {
    if (name == key) {
      present = std::move(value);
      return;
    }
  }
  members.emplace_back(key, std::move(value));
}

Value::Value(std::vector<Value> items, bool tuple)
    : data_(std::make_shared<Sequence>(Sequence{std::move(items), tuple})) {}

Value::Value(Mapping map) : data_(std::make_shared<Mapping>(std::move(map))) {}

Value::Value(const json::Value& value) {
  constexpr std::string_view kWhere = "chat template's input";
  if (value.is_bool()) {
    data_ = value.as_bool(kWhere);
  } else if (value.is_integer()) {
    data_ = value.as_integer(kWhere);
  } else if (value.is_number()) {
    data_ = value.as_number(kWhere);
  } else if (value.is_string()) {
    data_ = std::make_shared<const std::string>(value.as_string(kWhere));
  } else if (value.is_array()) {
    std::vector<Value> items;
    for (const json::Value& item : value.as_array(kWhere)) items.emplace_back(item);
    *this = Value(std::move(items));
  } else if (value.is_object()) {
    Mapping map;
    for (const auto& [key, member] : value.as_object(kWhere)) map.set(key, Value(member));
    *this = Value(std::move(map));
  }
}

std::int64_t Value::integer() const {
  return is_bool() ? static_cast<std::int64_t>(boolean()) : std::get<std::int64_t>(data_);
}

double Value::number() const { return is_float() ? std::get<double>(data_) : static_cast<double>(integer()); }

bool Value::truth() const {
  if (is_bool()) return boolean();
  if (is_integer()) return integer() != 0;
  if (is_float()) return number() != 0;
  if (is_text()) return !text().empty();
  if (is_sequence()) return !sequence().items.empty();
  if (is_mapping()) return mapping().space || !mapping().members.empty();
  return is_function();
}

bool Value::same(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (is_sequence()) return &sequence() == &other.sequence();
  if (is_mapping()) return &mapping() == &other.mapping();
  if (is_function()) return &function() == &other.function();
  return equal(*this, other);
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.number() == b.number() : a.integer() == b.integer();
  }
  if (a.is_text() && b.is_text()) return a.text() == b.text();
  if (a.is_none() || a.is_undefined()) return a.is_none() ? b.is_none() : b.is_undefined();
  if (a.is_sequence() && b.is_sequence()) {
    const Sequence& x = a.sequence();
    const Sequence& y = b.sequence();
    return x.tuple == y.tuple &&
           std::equal(x.items.begin(), x.items.end(), y.items.begin(), y.items.end(), equal);
  }
  if (a.is_mapping() && b.is_mapping()) {
    const Mapping& x = a.mapping();
    const Mapping& y = b.mapping();
    if (x.space || y.space) return &x == &y;
    return x.members.size() == y.members.size() &&
           std::all_of(x.members.begin(), x.members.end(), [&](const auto& member) {
             const Value* other = y.find(member.first);
             return other != nullptr && equal(member.second, *other);
           });
  }
  return a.is_function() && b.is_function() && &a.function() == &b.function();
}

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.number() < b.number() : a.integer() < b.integer();
  }
  // The order of code points is that of UTF-8's bytes.
  if (a.is_text() && b.is_text()) return a.text() < b.text();
  if (a.is_sequence() && b.is_sequence()) {
    const auto& x = a.sequence().items;
    const auto& y = b.sequence().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(x[i], y[i])) return less(x[i], y[i]);
    }
    return x.size() < y.size();
  }
  fail("expected two values that have an order, but got " + std::string(type_name(a)) + " and " +
       std::string(type_name(b)));
}

std::string_view type_name(const Value& value) {
  if (value.is_undefined()) return "an undefined value";
  if (value.is_none()) return "none";
  if (value.is_bool()) return "a boolean";
  if (value.is_integer()) return "an integer";
  if (value.is_float()) return "a float";
  if (value.is_text()) return "a string";
  if (value.is_sequence()) return value.sequence().tuple ? "a tuple" : "a list";
  if (value.is_mapping()) return value.mapping().space ? "a namespace" : "a mapping";
  return "a function";
}

std::string to_text(const Value& value) {
  std::string out;
  append_str(value, out, 0);
  return out;
}

std::string to_json(const Value& value, const JsonStyle& style) {
  std::string out;
  JsonPrinter(style, out).print(value, 0);
  return out;
}

void fail(const std::string& message) { throw_usage("[chat template] " + message); }

}  // namespace castline::chat
