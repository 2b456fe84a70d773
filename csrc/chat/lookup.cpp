// Members, items and methods of values: what `.`, `[]`, `in` and a call find.
#include <algorithm>
#include <map>

#include "chat/function.hpp"
#include "chat/texts.hpp"

namespace castline::chat {
namespace {

Value list_of(const std::vector<std::string>& texts) {
  std::vector<Value> items;
  items.reserve(texts.size());
  for (const std::string& text : texts) items.emplace_back(text);
  return Value(std::move(items));
}

Value pair_of(const std::string& key, const Value& value) {
  return Value(std::vector<Value>{Value(key), value}, /*tuple=*/true);
}

// The position of an index that may count from the end; none where there is nothing.
const Value* at(const std::vector<Value>& items, std::int64_t index) {
  const auto size = static_cast<std::int64_t>(items.size());
  if (index < 0) index += size;
  return index >= 0 && index < size ? &items[static_cast<std::size_t>(index)] : nullptr;
}

using Method = Value (*)(const std::string& self, Arguments& arguments);

template <Side side>
Value strip_method(const std::string& self, Arguments& arguments) {
  const Value* chars = arguments.take();
  if (chars == nullptr || chars->is_none()) return Value(strip(self, nullptr, side));
  if (!chars->is_text()) fail("[strip] expected a string, but got " + std::string(type_name(*chars)));
  return Value(strip(self, &chars->text(), side));
}

template <bool reverse>
Value split_method(const std::string& self, Arguments& arguments) {
  const Value* separator = arguments.take("sep");
  const std::int64_t most = arguments.take_integer("maxsplit", -1);
  if (separator == nullptr || separator->is_none()) return list_of(split_words(self, most, reverse));
  if (!separator->is_text() || separator->text().empty()) {
    fail("[split] expected a separator, but got " +
         (separator->is_text() ? "an empty one" : std::string(type_name(*separator))));
  }
  return list_of(split_at(self, separator->text(), most, reverse));
}

template <bool end>
Value affix_method(const std::string& self, Arguments& arguments) {
  const Value& affix = arguments.need("prefix");
  const auto holds = [&](const Value& one) {
    if (!one.is_text())
      fail("[startswith, endswith] expected a string, but got " + std::string(type_name(one)));
    return end ? self.ends_with(one.text()) : self.starts_with(one.text());
  };
  if (!affix.is_sequence()) return Value(holds(affix));
  const auto& all = affix.sequence().items;
  return Value(std::any_of(all.begin(), all.end(), holds));
}

template <bool end>
Value remove_affix(const std::string& self, Arguments& arguments) {
  const std::string affix = arguments.need_text("prefix");
  if (end) return Value(self.ends_with(affix) ? self.substr(0, self.size() - affix.size()) : self);
  return Value(self.starts_with(affix) ? self.substr(affix.size()) : self);
}

template <bool last>
Value find_method(const std::string& self, Arguments& arguments) {
  const std::u32string text = decode(self);
  const std::u32string part = decode(arguments.need_text("sub"));
  const std::size_t found = last ? text.rfind(part) : text.find(part);
  return Value(found == std::u32string::npos ? std::int64_t{-1} : static_cast<std::int64_t>(found));
}

Value count_method(const std::string& self, Arguments& arguments) {
  const std::string part = arguments.need_text("sub");
  if (part.empty()) return Value(static_cast<std::int64_t>(decode(self).size() + 1));
  return Value(static_cast<std::int64_t>(split_at(self, part, -1, false).size() - 1));
}

Value join_method(const std::string& self, Arguments& arguments) {
  std::string out;
  bool first = true;
  for (const Value& one : iterate(arguments.need("iterable"))) {
    if (!one.is_text()) fail("[join] expected strings, but got " + std::string(type_name(one)));
    if (!first) out += self;
    first = false;
    out += one.text();
  }
  return Value(out);
}

template <typename Test>
bool all_of(const std::string& self, const Test& test) {
  const std::u32string codes = decode(self);
  return !codes.empty() && std::all_of(codes.begin(), codes.end(), test);
}

const std::map<std::string_view, Method> kTextMethods = {
    {"strip", strip_method<Side::both>},
    {"lstrip", strip_method<Side::left>},
    {"rstrip", strip_method<Side::right>},
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"startswith", affix_method<false>},
    {"endswith", affix_method<true>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"find", find_method<false>},
    {"rfind", find_method<true>},
    {"count", count_method},
    {"join", join_method},
    {"lower", [](const std::string& self, Arguments&) { return Value(lower(self)); }},
    {"upper", [](const std::string& self, Arguments&) { return Value(upper(self)); }},
    {"capitalize", [](const std::string& self, Arguments&) { return Value(capitalize(self)); }},
    {"title", [](const std::string& self, Arguments&) { return Value(title(self, false)); }},
    {"isspace", [](const std::string& self, Arguments&) { return Value(all_of(self, is_space)); }},
    {"isdigit",
     [](const std::string& self, Arguments&) {
       return Value(all_of(self, [](char32_t code) { return code >= '0' && code <= '9'; }));
     }},
    {"splitlines",
     [](const std::string& self, Arguments& arguments) {
       return list_of(split_lines(self, arguments.take_truth("keepends", false)));
     }},
    {"replace",
     [](const std::string& self, Arguments& arguments) {
       const std::string from = arguments.need_text("old");
       const std::string to = arguments.need_text("new");
       return Value(replace(self, from, to, arguments.take_integer("count", -1)));
     }},
};

Value call_mapping_method(const Mapping& self, const std::string& name, Arguments& arguments) {
  if (name == "get") {
    const Value& key = arguments.need("key");
    const Value* standard = arguments.take("default");
    const Value* found = key.is_text() ? self.find(key.text()) : nullptr;
    return found != nullptr ? *found : standard != nullptr ? *standard : Value();
  }
  std::vector<Value> items;
  for (const auto& [key, value] : self.members) {
    items.push_back(name == "keys" ? Value(key) : name == "values" ? value : pair_of(key, value));
  }
  return Value(std::move(items));
}

}  // namespace

std::vector<Value> iterate(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_sequence()) return value.sequence().items;
  std::vector<Value> items;
  if (value.is_mapping() && !value.mapping().space) {
    for (const auto& [key, member] : value.mapping().members) items.emplace_back(key);
  } else if (value.is_text()) {
    for (const char32_t code : decode(value.text())) items.emplace_back(encode({&code, 1}));
  } else {
    fail("expected something to go through, but got " + std::string(type_name(value)));
  }
  return items;
}

std::size_t length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) return decode(value.text()).size();
  if (value.is_sequence()) return value.sequence().items.size();
  if (value.is_mapping() && !value.mapping().space) return value.mapping().members.size();
  fail("expected something that has a length, but got " + std::string(type_name(value)));
}

bool has_method(const Value& value, std::string_view name) {
  if (value.is_text()) return kTextMethods.contains(name);
  if (!value.is_mapping() || value.mapping().space) return false;
  return name == "get" || name == "items" || name == "keys" || name == "values";
}

Value attribute(const Value& value, const std::string& name) {
  if (value.is_undefined())
    fail("'" + value.undefined().name + "' is undefined, so it has no '" + name + "'");
  if (has_method(value, name)) {
    return Value(
        std::make_shared<const Function>(Function{Function::Kind::method, name, value, nullptr, nullptr}));
  }
  if (value.is_mapping()) {
    if (const Value* found = value.mapping().find(name)) return *found;
  }
  return Value(Undefined{name});
}

Value item(const Value& value, const Value& key) {
  if (value.is_undefined()) {
    fail("'" + value.undefined().name + "' is undefined, so it has no item " + to_text(key));
  }
  if (key.is_text()) {
    if (value.is_mapping()) {
      if (const Value* found = value.mapping().find(key.text())) return *found;
    }
    return attribute(value, key.text());
  }
  if (key.is_integer() || key.is_bool()) {
    if (value.is_sequence()) {
      if (const Value* found = at(value.sequence().items, key.integer())) return *found;
    } else if (value.is_text()) {
      const std::vector<Value> characters = iterate(value);
      if (const Value* found = at(characters, key.integer())) return *found;
    }
  }
  return Value(Undefined{to_text(key)});
}

bool contains(const Value& container, const Value& value) {
  if (container.is_text()) {
    if (!value.is_text())
      fail("[in] expected a string to look for, but got " + std::string(type_name(value)));
    return container.text().find(value.text()) != std::string::npos;
  }
  if (container.is_mapping() && !container.mapping().space) {
    return value.is_text() && container.mapping().find(value.text()) != nullptr;
  }
  const std::vector<Value> items = iterate(container);
  return std::any_of(items.begin(), items.end(), [&](const Value& one) { return equal(one, value); });
}

Value call_method(const Value& self, const std::string& name, Arguments arguments) {
  const Value result = self.is_text() ? kTextMethods.at(name)(self.text(), arguments)
                                      : call_mapping_method(self.mapping(), name, arguments);
  arguments.finish();
  return result;
}

}  // namespace castline::chat
