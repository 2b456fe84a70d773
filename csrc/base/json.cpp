#include "base/json.hpp"

#include <charconv>

#include "base/error.hpp"
#include "base/utf8.hpp"

namespace castline::json {
namespace {

constexpr int kMaxDepth = 256;

class Parser {
 public:
  Parser(std::string_view text, std::string_view where) : text_(text), where_(where) {}

  Value document() {
    pos_ = utf8::valid_prefix(text_);
    if (pos_ != text_.size()) fail("expected UTF-8");
    pos_ = 0;
    Value v = value(0);
    skip_space();
    if (pos_ != text_.size()) fail("expected the end of the document");
    return v;
  }

 private:
  [[noreturn]] void fail(const std::string& rule) const {
    std::string found = pos_ < text_.size()
                            ? "byte " + std::to_string(static_cast<unsigned char>(text_[pos_]))
                            : std::string("the end");
    throw_data("[" + std::string(where_) + "] " + rule + ", but got " + found + " at offset " +
               std::to_string(pos_));
  }

  void skip_space() {
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      if (c != ' ' && c != '\n' && c != '\t' && c != '\r') return;
      ++pos_;
    }
  }

  char peek() const { return pos_ < text_.size() ? text_[pos_] : '\0'; }

  void expect(char c) {
    if (pos_ >= text_.size() || text_[pos_] != c) fail(std::string("expected '") + c + "'");
    ++pos_;
  }

  void literal(std::string_view word) {
    if (text_.substr(pos_, word.size()) != word) fail("expected a JSON value");
    pos_ += word.size();
  }

  Value value(int depth) {
    if (depth > kMaxDepth) fail("nesting deeper than 256 levels is refused");
    skip_space();
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return Value(string());
      case 't':
        literal("true");
        return Value(true);
      case 'f':
        literal("false");
        return Value(false);
      case 'n':
        literal("null");
        return Value();
      default:
        return number();
    }
  }

  Value object(int depth) {
    expect('{');
    Object members;
    skip_space();
    if (peek() == '}') {
      ++pos_;
      return Value(std::move(members));
    }
    for (;;) {
      skip_space();
      if (peek() != '"') fail("expected a member name in quotes");
      std::string key = string();
      skip_space();
      expect(':');
      members.emplace_back(std::move(key), value(depth + 1));
      skip_space();
      if (peek() == ',') {
        ++pos_;
        continue;
      }
      expect('}');
      return Value(std::move(members));
    }
  }

  Value array(int depth) {
    expect('[');
    Array items;
    skip_space();
    if (peek() == ']') {
      ++pos_;
      return Value(std::move(items));
    }
    for (;;) {
      items.push_back(value(depth + 1));
      skip_space();
      if (peek() == ',') {
        ++pos_;
        continue;
      }
      expect(']');
      return Value(std::move(items));
    }
  }

  Value number() {
    const std::size_t start = pos_;
    bool integral = true;
    if (peek() == '-') ++pos_;
    if (peek() == '0') {
      ++pos_;
    } else if (!digits()) {
      fail("expected a JSON value");
    }
    if (peek() == '.') {
      integral = false;
      ++pos_;
      if (!digits()) fail("expected a digit after '.'");
    }
    if (peek() == 'e' || peek() == 'E') {
      integral = false;
      ++pos_;
      if (peek() == '+' || peek() == '-') ++pos_;
      if (!digits()) fail("expected a digit in the exponent");
    }
    const char* first = text_.data() + start;
    const char* last = text_.data() + pos_;
    if (integral) {
      std::int64_t i = 0;
      if (std::from_chars(first, last, i).ec == std::errc()) return Value(i);
    }
    double d = 0;
    if (std::from_chars(first, last, d).ec != std::errc()) {
      pos_ = start;
      fail("expected a number that fits a double");
    }
    return Value(d);
  }

  bool digits() {
    const std::size_t start = pos_;
    while (peek() >= '0' && peek() <= '9') ++pos_;
    return pos_ > start;
  }

  unsigned hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      unsigned digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<unsigned>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<unsigned>(c - 'a') + 10;
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<unsigned>(c - 'A') + 10;
      } else {
        fail("expected four hexadecimal digits after \\u");
      }
      code = code * 16 + digit;
      ++pos_;
    }
    return code;
  }

  static void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  void escape(std::string& out) {
    switch (peek()) {
      case '"':
      case '\\':
      case '/':
        out += text_[pos_++];
        return;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        ++pos_;
        unsigned code = hex4();
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(pos_, 2) == "\\u") {
          const std::size_t back = pos_;
          pos_ += 2;
          const unsigned low = hex4();
          if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
          } else {
            pos_ = back;
          }
        }
        if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;  // a lone surrogate has no UTF-8 form
        append_utf8(out, code);
        return;
      }
      default:
        fail("expected a JSON escape");
    }
    ++pos_;
  }

  std::string string() {
    expect('"');
    std::string out;
    for (;;) {
      const std::size_t start = pos_;
      while (pos_ < text_.size() && text_[pos_] != '"' && text_[pos_] != '\\' &&
             static_cast<unsigned char>(text_[pos_]) >= 0x20) {
        ++pos_;
      }
      out.append(text_, start, pos_ - start);
      if (pos_ >= text_.size()) fail("expected a closing quote");
      if (text_[pos_] == '"') {
        ++pos_;
        return out;
      }
      if (text_[pos_] != '\\') fail("expected control characters to be escaped");
      ++pos_;
      escape(out);
    }
  }

  std::string_view text_;
  std::string_view where_;
  std::size_t pos_ = 0;
};

[[noreturn]] void wrong_type(std::string_view where, const char* expected) {
  throw_data("[" + std::string(where) + "] expected " + expected + ", but got another JSON type");
}

}  // namespace

bool Value::as_bool(std::string_view where) const {
  if (const auto* v = std::get_if<bool>(&data_)) return *v;
  wrong_type(where, "true or false");
}

std::int64_t Value::as_integer(std::string_view where) const {
  if (const auto* v = std::get_if<std::int64_t>(&data_)) return *v;
  wrong_type(where, "an integer");
}

double Value::as_number(std::string_view where) const {
  if (const auto* v = std::get_if<std::int64_t>(&data_)) return static_cast<double>(*v);
  if (const auto* v = std::get_if<double>(&data_)) return *v;
  wrong_type(where, "a number");
}

const std::string& Value::as_string(std::string_view where) const {
  if (const auto* v = std::get_if<std::string>(&data_)) return *v;
  wrong_type(where, "a string");
}

const Array& Value::as_array(std::string_view where) const {
  if (const auto* v = std::get_if<Array>(&data_)) return *v;
  wrong_type(where, "an array");
}

const Object& Value::as_object(std::string_view where) const {
  if (const auto* v = std::get_if<Object>(&data_)) return *v;
  wrong_type(where, "an object");
}

const Value* Value::find(std::string_view key) const {
  const auto* members = std::get_if<Object>(&data_);
  if (members == nullptr) return nullptr;
  for (const auto& [name, value] : *members) {
    if (name == key) return &value;
  }
  return nullptr;
}

const Value& Value::at(std::string_view key, std::string_view where) const {
  const Value* v = find(key);
  if (v == nullptr) {
    throw_data("[" + std::string(where) + "] expected the member '" + std::string(key) +
               "', but it is missing");
  }
  return *v;
}

Value parse(std::string_view text, std::string_view where) { return Parser(text, where).document(); }

}  // namespace castline::json
