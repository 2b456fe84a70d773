// A chat template as compile/chat_template.py writes it: a tree of statements and expressions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "chat/value.hpp"

namespace castline::chat {

struct Expression {
  enum class Kind {
    absent,
    constant,
    name,
    attribute,
    item,
    slice,
    call,
    filter,
    test,
    choose,
    compare,
    logical_and,
    logical_or,
    logical_not,
    negative,
    add,
    subtract,
    multiply,
    divide,
    floor_divide,
    modulo,
    power,
    concat,
    list,
    tuple,
    dict,
  };

  Kind kind = Kind::absent;
  std::string name;               ///< of a variable, an attribute, a filter, a test
  Value constant;                 ///< for constant
  std::vector<Expression> parts;  ///< operands; of a call, what is called; of a dict, keys and values in turn
  std::vector<Expression> arguments;                         ///< of a call, a filter, a test
  std::vector<std::pair<std::string, Expression>> keywords;  ///< of a call, a filter
  std::vector<std::string> operators;                        ///< of a compare, one fewer than its parts
};

/// Where a value goes.
struct Target {
  std::string name;             ///< of a variable; empty for several
  std::string field;            ///< of a namespace, where one is set
  std::vector<Target> several;  ///< for a tuple
};

struct Statement {
  enum class Kind { text, print, choose, loop, set, capture, macro, with, block, leave, next };

  Kind kind = Kind::text;
  std::string text;                ///< for text; a macro's name
  Expression value;                ///< printed, tested, walked over, or set
  Expression filter;               ///< of a loop: which items to take
  std::vector<Target> targets;     ///< of set, capture and loop, one; of with, several
  std::vector<Expression> values;  ///< of with; a macro's defaults, for its last parameters
  std::vector<std::string> parameters;
  std::vector<Statement> body;
  std::vector<Statement> otherwise;  ///< of choose and loop
};

using Program = std::vector<Statement>;

/// Reads a program. Throws a data error naming `where` for anything else than the compiler writes.
Program read_program(const json::Value& json, std::string_view where);

}  // namespace castline::chat
