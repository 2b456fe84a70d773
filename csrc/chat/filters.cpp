// Jinja's filters and tests (jinja.palletsprojects.com/templates), and transformers' `tojson`.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>

#include "chat/function.hpp"
#include "chat/texts.hpp"

namespace castline::chat {
namespace {

using Filter = Value (*)(const Value& value, Arguments& arguments);

// What is compared when case does not matter.
Value folded(const Value& value, bool case_sensitive) {
  return value.is_text() && !case_sensitive ? Value(lower(value.text())) : value;
}

// `value.a.b` or `value.0` for an attribute "a.b" or "0", as filters take it.
Value field_of(const Value& value, const std::string& path) {
  Value found = value;
  for (const std::string& part : split_at(path, ".", -1, false)) {
    std::int64_t index = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number = error == std::errc() && end == part.data() + part.size();
    found = item(found, number ? Value(index) : Value(part));
  }
  return found;
}

// The key by which a filter orders or compares items: an attribute of them, or themselves.
struct Key {
  std::string attribute;
  bool case_sensitive;

  Value of(const Value& value) const {
    return folded(attribute.empty() ? value : field_of(value, attribute), case_sensitive);
  }
};

std::vector<Value> sorted(std::vector<Value> items, const Key& key, bool reverse) {
  std::stable_sort(items.begin(), items.end(), [&](const Value& a, const Value& b) {
    return reverse ? less(key.of(b), key.of(a)) : less(key.of(a), key.of(b));
  });
  return items;
}

Value sort_filter(const Value& value, Arguments& arguments) {
  const bool reverse = arguments.take_truth("reverse", false);
  const bool case_sensitive = arguments.take_truth("case_sensitive", false);
  const Key key{arguments.take_text("attribute", ""), case_sensitive};
  return Value(sorted(iterate(value), key, reverse));
}

Value dictsort_filter(const Value& value, Arguments& arguments) {
  const bool case_sensitive = arguments.take_truth("case_sensitive", false);
  const std::string by = arguments.take_text("by", "key");
  const bool reverse = arguments.take_truth("reverse", false);
  if (by != "key" && by != "value") fail("[dictsort] expected by='key' or by='value', but got '" + by + "'");
  if (!value.is_mapping()) fail("[dictsort] expected a mapping, but got " + std::string(type_name(value)));
  const Value items = call_method(value, "items", Arguments("items", {}, {}));
  return Value(sorted(iterate(items), {by == "key" ? "0" : "1", case_sensitive}, reverse));
}

Value unique_filter(const Value& value, Arguments& arguments) {
  const bool case_sensitive = arguments.take_truth("case_sensitive", false);
  const Key key{arguments.take_text("attribute", ""), case_sensitive};
  std::vector<Value> seen;
  std::vector<Value> kept;
  for (const Value& one : iterate(value)) {
    const Value found = key.of(one);
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equal(found, other); }))
      continue;
    seen.push_back(found);
    kept.push_back(one);
  }
  return Value(std::move(kept));
}

template <bool greatest>
Value extreme_filter(const Value& value, Arguments& arguments) {
  const bool case_sensitive = arguments.take_truth("case_sensitive", false);
  const Key key{arguments.take_text("attribute", ""), case_sensitive};
  const std::vector<Value> items = iterate(value);
  if (items.empty()) return Value(Undefined{"the extreme of nothing"});
  const Value* best = &items[0];
  for (const Value& one : items) {
    const Value found = key.of(one);
    if (greatest ? less(key.of(*best), found) : less(found, key.of(*best))) best = &one;
  }
  return *best;
}

Value sum_filter(const Value& value, Arguments& arguments) {
  const std::string attribute = arguments.take_text("attribute", "");
  const Value* start = arguments.take("start");
  double total = start != nullptr ? start->number() : 0;
  bool whole = start == nullptr || !start->is_float();
  for (const Value& one : iterate(value)) {
    const Value term = attribute.empty() ? one : field_of(one, attribute);
    if (!term.is_number()) fail("[sum] expected numbers, but got " + std::string(type_name(term)));
    whole = whole && !term.is_float();
    total += term.number();
  }
  return whole ? Value(static_cast<std::int64_t>(total)) : Value(total);
}

Value join_filter(const Value& value, Arguments& arguments) {
  const std::string between = arguments.take_text("d", "");
  const std::string attribute = arguments.take_text("attribute", "");
  std::string out;
  bool first = true;
  for (const Value& one : iterate(value)) {
    if (!first) out += between;
    first = false;
    out += to_text(attribute.empty() ? one : field_of(one, attribute));
  }
  return Value(out);
}

Value map_filter(const Value& value, Arguments& arguments) {
  std::vector<Value> results;
  const Value* standard = nullptr;
  std::vector<Value> positional = arguments.rest();
  if (!positional.empty()) {
    const std::string filter = to_text(positional[0]);
    positional.erase(positional.begin());
    const auto keywords = arguments.named_rest();
    for (const Value& one : iterate(value))
      results.push_back(apply_filter(filter, one, {filter, positional, keywords}));
    return Value(std::move(results));
  }
  const std::string path = arguments.need_text("attribute");
  standard = arguments.take("default");
  for (const Value& one : iterate(value)) {
    const Value found = field_of(one, path);
    results.push_back(found.is_undefined() && standard != nullptr ? *standard : found);
  }
  return Value(std::move(results));
}

template <bool wanted, bool of_attribute>
Value select_filter(const Value& value, Arguments& arguments) {
  const std::string path = of_attribute ? arguments.need_text("attribute") : std::string();
  std::vector<Value> others = arguments.rest();
  std::string test;
  if (!others.empty()) {
    test = to_text(others[0]);
    others.erase(others.begin());
  }
  std::vector<Value> kept;
  for (const Value& one : iterate(value)) {
    const Value tested = of_attribute ? field_of(one, path) : one;
    if ((test.empty() ? tested.truth() : apply_test(test, tested, others)) == wanted) kept.push_back(one);
  }
  return Value(std::move(kept));
}

Value default_filter(const Value& value, Arguments& arguments) {
  const Value* standard = arguments.take("default_value");
  const bool also_false = arguments.take_truth("boolean", false);
  if (!value.is_undefined() && !(also_false && !value.truth())) return value;
  return standard != nullptr ? *standard : Value(std::string());
}

template <bool last>
Value end_filter(const Value& value, Arguments&) {
  const std::vector<Value> items = iterate(value);
  if (items.empty()) return Value(Undefined{last ? "the last of nothing" : "the first of nothing"});
  return last ? items.back() : items.front();
}

Value reverse_filter(const Value& value, Arguments&) {
  std::vector<Value> items = iterate(value);
  std::reverse(items.begin(), items.end());
  if (!value.is_text()) return Value(std::move(items));
  std::string out;
  for (const Value& one : items) out += one.text();
  return Value(out);
}

Value int_filter(const Value& value, Arguments& arguments) {
  const std::int64_t standard = arguments.take_integer("default", 0);
  if (value.is_float()) {
    return std::isfinite(value.number()) && std::abs(value.number()) < 9e18
               ? Value(static_cast<std::int64_t>(value.number()))
               : Value(standard);
  }
  if (value.is_number()) return Value(value.integer());
  if (!value.is_text()) return Value(standard);
  const std::string text = strip(value.text(), nullptr);
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return Value(number);
  double real = 0;
  const auto [stop, failed] = std::from_chars(begin, text.data() + text.size(), real);
  const bool whole = failed == std::errc() && stop == text.data() + text.size() && std::abs(real) < 9e18;
  return Value(whole ? static_cast<std::int64_t>(real) : standard);
}

Value float_filter(const Value& value, Arguments& arguments) {
  const Value* standard = arguments.take("default");
  if (value.is_number()) return Value(value.number());
  if (value.is_text()) {
    const std::string text = strip(value.text(), nullptr);
    const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
    double number = 0;
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return Value(number);
  }
  return standard != nullptr ? *standard : Value(0.0);
}

Value tojson_filter(const Value& value, Arguments& arguments) {
  arguments.take_truth("ensure_ascii", false);
  JsonStyle style;
  style.indent = static_cast<int>(std::clamp<std::int64_t>(arguments.take_integer("indent", -1), -1, 64));
  if (style.indent >= 0) style.item_separator = ",";
  if (const Value* separators = arguments.take("separators");
      separators != nullptr && !separators->is_none()) {
    const std::vector<Value> both = iterate(*separators);
    if (both.size() != 2) fail("[tojson] expected two separators, but got " + std::to_string(both.size()));
    style.item_separator = to_text(both[0]);
    style.key_separator = to_text(both[1]);
  }
  style.sort_keys = arguments.take_truth("sort_keys", false);
  return Value(to_json(value, style));
}

Value indent_filter(const Value& value, Arguments& arguments) {
  const Value* width = arguments.take("width");
  const bool first = arguments.take_truth("first", false);
  const bool blank = arguments.take_truth("blank", false);
  const std::string margin =
      width == nullptr ? std::string(4, ' ')
      : width->is_text()
          ? width->text()
          : std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(width->integer(), 0, 1000)), ' ');
  std::string out;
  std::size_t index = 0;
  for (const std::string& line : split_at(to_text(value), "\n", -1, false)) {
    if (index > 0) out += '\n';
    if (index > 0 ? blank || !line.empty() : first) out += margin;
    out += line;
    ++index;
  }
  return Value(out);
}

Value length_filter(const Value& value, Arguments&) {
  return Value(static_cast<std::int64_t>(length_of(value)));
}

const std::map<std::string_view, Filter> kFilters = {
    {"capitalize", [](const Value& value, Arguments&) { return Value(capitalize(to_text(value))); }},
    {"count", length_filter},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dictsort_filter},
    {"first", end_filter<false>},
    {"float", float_filter},
    {"indent", indent_filter},
    {"int", int_filter},
    {"items",
     [](const Value& value, Arguments&) {
       if (value.is_undefined()) return Value(std::vector<Value>());
       if (!value.is_mapping()) fail("[items] expected a mapping, but got " + std::string(type_name(value)));
       return call_method(value, "items", Arguments("items", {}, {}));
     }},
    {"join", join_filter},
    {"last", end_filter<true>},
    {"length", length_filter},
    {"list", [](const Value& value, Arguments&) { return Value(iterate(value)); }},
    {"lower", [](const Value& value, Arguments&) { return Value(lower(to_text(value))); }},
    {"map", map_filter},
    {"max", extreme_filter<true>},
    {"min", extreme_filter<false>},
    {"reject", select_filter<false, false>},
    {"rejectattr", select_filter<false, true>},
    {"replace",
     [](const Value& value, Arguments& arguments) {
       const std::string from = to_text(arguments.need("old"));
       const std::string to = to_text(arguments.need("new"));
       return Value(replace(to_text(value), from, to, arguments.take_integer("count", -1)));
     }},
    {"reverse", reverse_filter},
    {"select", select_filter<true, false>},
    {"selectattr", select_filter<true, true>},
    {"sort", sort_filter},
    {"string", [](const Value& value, Arguments&) { return Value(to_text(value)); }},
    {"sum", sum_filter},
    {"title", [](const Value& value, Arguments&) { return Value(title(to_text(value), true)); }},
    {"tojson", tojson_filter},
    {"trim",
     [](const Value& value, Arguments& arguments) {
       const Value* chars = arguments.take("chars");
       const bool given = chars != nullptr && chars->is_text();
       return Value(strip(to_text(value), given ? &chars->text() : nullptr));
     }},
    {"unique", unique_filter},
    {"upper", [](const Value& value, Arguments&) { return Value(upper(to_text(value))); }},
    {"abs",
     [](const Value& value, Arguments&) {
       if (!value.is_number()) fail("[abs] expected a number, but got " + std::string(type_name(value)));
       return value.is_float() ? Value(std::abs(value.number()))
                               : Value(value.integer() < 0 ? -value.integer() : value.integer());
     }},
};

using Test = bool (*)(const Value& value, const std::vector<Value>& others);

std::int64_t whole(const Value& value) {
  if (!value.is_integer() && !value.is_bool()) {
    fail("expected an integer, but got " + std::string(type_name(value)));
  }
  return value.integer();
}

struct TestEntry {
  std::size_t arguments;
  Test test;
};

const std::map<std::string_view, TestEntry> kTests = {
    {"boolean", {0, [](const Value& v, const auto&) { return v.is_bool(); }}},
    {"callable", {0, [](const Value& v, const auto&) { return v.is_function(); }}},
    {"defined", {0, [](const Value& v, const auto&) { return !v.is_undefined(); }}},
    {"divisibleby",
     {1, [](const Value& v, const auto& o) { return whole(o[0]) != 0 && whole(v) % whole(o[0]) == 0; }}},
    {"eq", {1, [](const Value& v, const auto& o) { return equal(v, o[0]); }}},
    {"equalto", {1, [](const Value& v, const auto& o) { return equal(v, o[0]); }}},
    {"even", {0, [](const Value& v, const auto&) { return whole(v) % 2 == 0; }}},
    {"false", {0, [](const Value& v, const auto&) { return v.is_bool() && !v.boolean(); }}},
    {"float", {0, [](const Value& v, const auto&) { return v.is_float(); }}},
    {"ge", {1, [](const Value& v, const auto& o) { return !less(v, o[0]); }}},
    {"gt", {1, [](const Value& v, const auto& o) { return less(o[0], v); }}},
    {"in", {1, [](const Value& v, const auto& o) { return contains(o[0], v); }}},
    {"integer", {0, [](const Value& v, const auto&) { return v.is_integer(); }}},
    {"iterable",
     {0, [](const Value& v,
            const auto&) { return v.is_undefined() || v.is_text() || v.is_sequence() || v.is_mapping(); }}},
    {"le", {1, [](const Value& v, const auto& o) { return !less(o[0], v); }}},
    {"lower",
     {0, [](const Value& v,
            const auto&) { return lower(to_text(v)) == to_text(v) && upper(to_text(v)) != to_text(v); }}},
    {"lt", {1, [](const Value& v, const auto& o) { return less(v, o[0]); }}},
    {"mapping", {0, [](const Value& v, const auto&) { return v.is_mapping() && !v.mapping().space; }}},
    {"ne", {1, [](const Value& v, const auto& o) { return !equal(v, o[0]); }}},
    {"none", {0, [](const Value& v, const auto&) { return v.is_none(); }}},
    {"number", {0, [](const Value& v, const auto&) { return v.is_number(); }}},
    {"odd", {0, [](const Value& v, const auto&) { return whole(v) % 2 != 0; }}},
    {"sameas", {1, [](const Value& v, const auto& o) { return v.same(o[0]); }}},
    {"sequence",
     {0, [](const Value& v,
            const auto&) { return v.is_undefined() || v.is_text() || v.is_sequence() || v.is_mapping(); }}},
    {"string", {0, [](const Value& v, const auto&) { return v.is_text(); }}},
    {"true", {0, [](const Value& v, const auto&) { return v.is_bool() && v.boolean(); }}},
    {"undefined", {0, [](const Value& v, const auto&) { return v.is_undefined(); }}},
    {"upper",
     {0, [](const Value& v,
            const auto&) { return upper(to_text(v)) == to_text(v) && lower(to_text(v)) != to_text(v); }}},
};

}  // namespace

Value apply_filter(const std::string& name, const Value& value, Arguments arguments) {
  const auto found = kFilters.find(name);
  if (found == kFilters.end()) fail("expected a filter, but got '" + name + "'");
  const Value result = found->second(value, arguments);
  arguments.finish();
  return result;
}

bool apply_test(const std::string& name, const Value& value, const std::vector<Value>& arguments) {
  static const std::map<std::string_view, std::string_view> signs = {
      {"==", "eq"}, {"!=", "ne"}, {">", "gt"}, {">=", "ge"}, {"<", "lt"}, {"<=", "le"}};
  const auto sign = signs.find(name);
  const auto found = kTests.find(sign == signs.end() ? std::string_view(name) : sign->second);
  if (found == kTests.end()) fail("expected a test, but got '" + name + "'");
  if (arguments.size() != found->second.arguments) {
    fail("[is " + name + "] expected " + std::to_string(found->second.arguments) + " arguments, but got " +
         std::to_string(arguments.size()));
  }
  return found->second.test(value, arguments);
}

}  // namespace castline::chat
