#include "chat/program.hpp"

#include <map>
#include <optional>

#include "base/error.hpp"

namespace castline::chat {
namespace {

using Kind = Expression::Kind;

constexpr std::int64_t kFormat = 1;

// The nodes that consist of nothing but operands, and how many.
struct Simple {
  Kind kind;
  std::size_t operands;
};
const std::map<std::string_view, Simple> kSimple = {
    {"item", {Kind::item, 2}},       {"slice", {Kind::slice, 4}},   {"choose", {Kind::choose, 3}},
    {"and", {Kind::logical_and, 2}}, {"or", {Kind::logical_or, 2}}, {"not", {Kind::logical_not, 1}},
    {"neg", {Kind::negative, 1}},    {"add", {Kind::add, 2}},       {"sub", {Kind::subtract, 2}},
    {"mul", {Kind::multiply, 2}},    {"div", {Kind::divide, 2}},    {"floordiv", {Kind::floor_divide, 2}},
    {"mod", {Kind::modulo, 2}},      {"pow", {Kind::power, 2}},
};
const std::map<std::string_view, Kind> kLists = {
    {"concat", Kind::concat}, {"list", Kind::list}, {"tuple", Kind::tuple}};

class Reader {
 public:
  explicit Reader(std::string_view where) : where_(where) {}

  Program body(const json::Value& json) const {
    Program statements;
    for (const json::Value& one : json.as_array(where_)) statements.push_back(statement(one));
    return statements;
  }

 private:
  // A node's name and parts.
  struct Node {
    const std::string& name;
    const json::Array& array;
    std::string_view where;

    const json::Value& at(std::size_t part) const {
      if (part >= array.size()) {
        throw_data("[" + std::string(where) + "] expected more parts of '" + name + "', but got " +
                   std::to_string(array.size() - 1));
      }
      return array[part];
    }
    const std::string& text(std::size_t part) const { return at(part).as_string(where); }
  };

  Node node(const json::Value& json) const {
    const json::Array& array = json.as_array(where_);
    if (array.empty()) throw_data("[" + std::string(where_) + "] expected a node, but got an empty list");
    return {array[0].as_string(where_), array, where_};
  }

  Statement statement(const json::Value& json) const {
    using S = Statement::Kind;
    const Node in = node(json);
    Statement out;
    if (in.name == "text") {
      out.kind = S::text;
      out.text = in.text(1);
    } else if (in.name == "print") {
      out.kind = S::print;
      out.value = expression(in.at(1));
    } else if (in.name == "if") {
      out.kind = S::choose;
      out.value = expression(in.at(1));
      out.body = body(in.at(2));
      out.otherwise = body(in.at(3));
    } else if (in.name == "for") {
      out.kind = S::loop;
      out.targets.push_back(target(in.at(1)));
      out.value = expression(in.at(2));
      out.filter = expression(in.at(3));
      out.body = body(in.at(4));
      out.otherwise = body(in.at(5));
    } else if (in.name == "set") {
      out.kind = S::set;
      out.targets.push_back(target(in.at(1)));
      out.value = expression(in.at(2));
    } else if (in.name == "capture") {
      out.kind = S::capture;
      out.targets.push_back(target(in.at(1)));
      out.body = body(in.at(2));
    } else if (in.name == "macro") {
      out.kind = S::macro;
      out.text = in.text(1);
      for (const json::Value& name : in.at(2).as_array(where_))
        out.parameters.push_back(name.as_string(where_));
      out.values = expressions(in.at(3));
      if (out.values.size() > out.parameters.size()) {
        throw_data("[" + std::string(where_) + "] expected at most as many defaults as parameters of " +
                   out.text);
      }
      out.body = body(in.at(4));
    } else if (in.name == "with") {
      out.kind = S::with;
      for (const json::Value& pair : in.at(1).as_array(where_)) {
        const json::Array& both = pair.as_array(where_);
        if (both.size() != 2) throw_data("[" + std::string(where_) + "] expected pairs in 'with'");
        out.targets.push_back(target(both[0]));
        out.values.push_back(expression(both[1]));
      }
      out.body = body(in.at(2));
    } else if (in.name == "block") {
      out.kind = S::block;
      out.body = body(in.at(1));
    } else if (in.name == "break") {
      out.kind = S::leave;
    } else if (in.name == "continue") {
      out.kind = S::next;
    } else {
      throw_data("[" + std::string(where_) + "] expected a statement, but got '" + in.name + "'");
    }
    return out;
  }

  Target target(const json::Value& json) const {
    const Node in = node(json);
    Target out;
    if (in.name == "name") {
      out.name = in.text(1);
    } else if (in.name == "field") {
      out.name = in.text(1);
      out.field = in.text(2);
    } else if (in.name == "tuple") {
      for (const json::Value& one : in.at(1).as_array(where_)) out.several.push_back(target(one));
    } else {
      throw_data("[" + std::string(where_) + "] expected a target, but got '" + in.name + "'");
    }
    return out;
  }

  std::vector<Expression> expressions(const json::Value& json) const {
    std::vector<Expression> all;
    for (const json::Value& one : json.as_array(where_)) all.push_back(expression(one));
    return all;
  }

  Expression expression(const json::Value& json) const {
    Expression out;
    if (json.is_null()) return out;
    const Node in = node(json);
    if (const auto simple = kSimple.find(in.name); simple != kSimple.end()) {
      out.kind = simple->second.kind;
      for (std::size_t i = 1; i <= simple->second.operands; ++i) out.parts.push_back(expression(in.at(i)));
    } else if (const auto list = kLists.find(in.name); list != kLists.end()) {
      out.kind = list->second;
      out.parts = expressions(in.at(1));
    } else if (in.name == "const") {
      out.kind = Kind::constant;
      out.constant = Value(in.at(1));
    } else if (in.name == "name") {
      out.kind = Kind::name;
      out.name = in.text(1);
    } else if (in.name == "attr") {
      out.kind = Kind::attribute;
      out.parts.push_back(expression(in.at(1)));
      out.name = in.text(2);
    } else if (in.name == "call") {
      out.kind = Kind::call;
      out.parts.push_back(expression(in.at(1)));
      arguments(in, 2, out);
    } else if (in.name == "filter") {
      out.kind = Kind::filter;
      out.name = in.text(1);
      out.parts.push_back(expression(in.at(2)));
      arguments(in, 3, out);
    } else if (in.name == "test") {
      out.kind = Kind::test;
      out.name = in.text(1);
      out.parts.push_back(expression(in.at(2)));
      out.arguments = expressions(in.at(3));
    } else if (in.name == "compare") {
      out.kind = Kind::compare;
      out.parts.push_back(expression(in.at(1)));
      for (const json::Value& operand : in.at(2).as_array(where_)) {
        const Node pair = node(operand);
        out.operators.push_back(pair.name);
        out.parts.push_back(expression(pair.at(1)));
      }
    } else if (in.name == "dict") {
      out.kind = Kind::dict;
      for (const json::Value& pair : in.at(1).as_array(where_)) {
        const json::Array& both = pair.as_array(where_);
        if (both.size() != 2) throw_data("[" + std::string(where_) + "] expected pairs in 'dict'");
        for (const json::Value& one : both) out.parts.push_back(expression(one));
      }
    } else {
      throw_data("[" + std::string(where_) + "] expected an expression, but got '" + in.name + "'");
    }
    return out;
  }

  void arguments(const Node& in, std::size_t part, Expression& out) const {
    out.arguments = expressions(in.at(part));
    for (const auto& [name, value] : in.at(part + 1).as_object(where_)) {
      out.keywords.emplace_back(name, expression(value));
    }
  }

  std::string_view where_;
};

}  // namespace

Program read_program(const json::Value& json, std::string_view where) {
  if (const std::int64_t format = json.at("format", where).as_integer(where); format != kFormat) {
    throw_data("[" + std::string(where) + "] expected format " + std::to_string(kFormat) + ", but got " +
               std::to_string(format));
  }
  return Reader(where).body(json.at("body", where));
}

}  // namespace castline::chat
