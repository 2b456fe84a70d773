// The JSON reader against documents written at random, in every style the grammar allows, and damaged ones.
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/json.hpp"
#include "base/utf8.hpp"
#include "check.hpp"

namespace json = castline::json;
using json::Value;

namespace {

using Random = std::mt19937_64;

/// A character of any length in UTF-8, often one that a string must or may escape.
char32_t random_character(Random& random) {
  static constexpr char32_t kSpecial[] = {'"',  '\\', '/', '\b', '\f', '\n',
                                          '\r', '\t', 0,   0x1F, 0x7F, 0xFFFF};
  switch (random() % 4) {
    case 0:
      return kSpecial[random() % std::size(kSpecial)];
    case 1:
      return static_cast<char32_t>(0x20 + random() % 0x60);
    case 2:
      return static_cast<char32_t>(0x80 + random() % 0xD780);
    default:
      return static_cast<char32_t>(0x10000 + random() % 0x100000);
  }
}

std::string random_string(Random& random) {
  std::string text;
  for (std::uint64_t left = random() % 8; left > 0; --left)
    castline::utf8::append(random_character(random), text);
  return text;
}

Value random_value(Random& random, int depth) {
  switch (random() % (depth > 0 ? 7 : 5)) {
    case 0:
      return Value();
    case 1:
      return Value(random() % 2 == 0);
    case 2:
      return Value(static_cast<std::int64_t>(random() >> (random() % 64)));
    case 3:
      return Value((static_cast<double>(random()) - 9e18) * (random() % 2 == 0 ? 1e-19 : 1e200));
    case 4:
      return Value(random_string(random));
    case 5: {
      json::Array items;
      for (std::uint64_t left = random() % 4; left > 0; --left)
        items.push_back(random_value(random, depth - 1));
      return Value(std::move(items));
    }
    default: {
      json::Object members;
      for (std::uint64_t left = random() % 4; left > 0; --left) {
        members.emplace_back(random_string(random), random_value(random, depth - 1));
      }
      return Value(std::move(members));
    }
  }
}

/// Writes values: plainly, or with spaces and escapes wherever they are allowed.
class Writer {
 public:
  Writer() = default;
  explicit Writer(Random& random) : random_(&random) {}

  std::string write(const Value& value) {
    std::string out = space();
    if (value.is_null()) {
      out += "null";
    } else if (value.is_bool()) {
      out += value.as_bool("test") ? "true" : "false";
    } else if (value.is_integer()) {
      out += std::to_string(value.as_integer("test"));
    } else if (value.is_number()) {
      char digits[40];
      std::snprintf(digits, sizeof digits, styled() ? "%.17E" : "%.17e", value.as_number("test"));
      out += digits;
    } else if (value.is_string()) {
      out += string(value.as_string("test"));
    } else if (value.is_array()) {
      out += '[';
      const char* comma = "";
      for (const Value& item : value.as_array("test")) out += std::exchange(comma, ",") + write(item);
      out += space() + ']';
    } else {
      out += '{';
      const char* comma = "";
      for (const auto& [name, member] : value.as_object("test")) {
        out += std::exchange(comma, ",") + space() + string(name) + space() + ':' + write(member);
      }
      out += space() + '}';
    }
    return out + space();
  }

 private:
  bool styled() { return random_ != nullptr && (*random_)() % 3 == 0; }
  std::string space() { return styled() ? std::string(1, " \t\r\n"[(*random_)() % 4]) : std::string(); }

  std::string string(std::string_view text) {
    std::string out = "\"";
    for (const char* p = text.data(); p < text.data() + text.size();) {
      const char* const start = p;
      const char32_t code = castline::utf8::next(p);
      if (code < 0x20 || code == '"' || code == '\\' || styled()) {
        out += escape(code);
      } else {
        out.append(start, p);
      }
    }
    return out + '"';
  }

  std::string escape(char32_t code) {
    static constexpr std::string_view kCodes = "\"\\/\b\f\n\r\t";
    if (code < 0x80 && styled()) {
      const std::size_t at = kCodes.find(static_cast<char>(code));
      if (at != std::string_view::npos) return std::string("\\") + "\"\\/bfnrt"[at];
    }
    if (code < 0x10000) return unit(code);
    return unit(0xD800 + ((code - 0x10000) >> 10)) + unit(0xDC00 + (code & 0x3FF));
  }

  std::string unit(char32_t code) {
    char digits[8];
    std::snprintf(digits, sizeof digits, styled() ? "\\u%04" PRIX32 : "\\u%04" PRIx32,
                  static_cast<std::uint32_t>(code));
    return digits;
  }

  Random* random_ = nullptr;
};

/// The document in the plain style, or nothing when it is refused as data are.
bool reads(std::string_view text, std::string& plain) {
  try {
    plain = Writer().write(json::parse(text, "test"));
    return true;
  } catch (const castline::Error& error) {
    CHECK(error.kind() == castline::ErrorKind::data);
    CHECK(std::string_view(error.what()).starts_with("[test] "));
    return false;
  }
}

void test_styles() {
  Random random(1);
  for (int i = 0; i < 3000; ++i) {
    const Value value = random_value(random, 4);
    const std::string expected = Writer().write(value);
    std::string plain;
    CHECK(reads(Writer(random).write(value), plain) && plain == expected);
  }
}

void test_numbers() {
  constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
  CHECK(json::parse("-9223372036854775808", "test").as_integer("test") == least);
  CHECK(!json::parse("-9223372036854775809", "test").is_integer());
  CHECK(json::parse("-0", "test").as_integer("test") == 0);
  CHECK(json::parse("0.1", "test").as_number("test") == 0.1);
  CHECK(json::parse("123E-2", "test").as_number("test") == 1.23);
  std::string plain;
  for (const char* bad :
       {"+1", ".5", "1.e3", "1e", "1e+", "0x10", "00", "-01", "NaN", "Infinity", "- 1", "1e400"}) {
    CHECK(!reads(bad, plain));
  }
}

void test_depth() {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  std::string plain;
  CHECK(reads(nested(256), plain));
  CHECK(!reads(nested(300), plain));
}

void test_ill_formed_utf8() {
  std::string plain;
  for (const char* bad : {"\"\xFF\"", "\"\xC3\"", "\"\xED\xA0\x80\"", "\"\xC0\x80\""})
    CHECK(!reads(bad, plain));
}

void test_damage() {
  Random random(2);
  std::string plain;
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string text = Writer(random).write(Value(json::Array{random_value(random, 4)}));
    // No beginning of a document that ends in a bracket is a document.
    const std::size_t end = text.find_last_of(']');
    for (std::size_t length = 0; length <= end; length += 1 + length / 40)
      CHECK(!reads(text.substr(0, length), plain));
    for (int k = 0; k < 20; ++k) {
      std::string damaged = text;
      const std::size_t at = random() % damaged.size();
      switch (random() % 3) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged.erase(at, 1 + random() % 4);
          break;
        default:
          damaged.insert(at, damaged.substr(random() % damaged.size(), 1 + random() % 8));
      }
      std::string again;
      if (!reads(damaged, plain)) {
        ++refused;
      } else {
        CHECK(reads(plain, again) && again == plain);  // what is read is a document
      }
    }
  }
  CHECK(refused > 1000);
}

}  // namespace

int main() {
  test_styles();
  test_numbers();
  test_depth();
  test_ill_formed_utf8();
  test_damage();
  return castline::test::finish();
}
