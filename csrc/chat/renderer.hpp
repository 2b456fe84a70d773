// Runs a program once: statements write text, expressions give values.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "chat/function.hpp"
#include "chat/program.hpp"
#include "chat/value.hpp"

namespace castline::chat {

/// Variables that came to be in one place, and the place around it.
struct Scope {
  const Scope* outer = nullptr;
  std::map<std::string, Value, std::less<>> names = {};
  bool defines_macro = false;  ///< which may be called when the place is left

  const Value* find(std::string_view name) const;
};

class Renderer {
 public:
  Renderer(const Mapping& context, std::int64_t now);
  ~Renderer();
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  std::string run(const Program& program);

 private:
  enum class Flow { on, leave, next };

  Flow run(const std::vector<Statement>& body, Scope& scope, std::string& out);
  Flow run(const Statement& statement, Scope& scope, std::string& out);
  Flow loop(const Statement& statement, Scope& scope, std::string& out);
  std::string call_macro(const Function& function, Arguments arguments);

  Value evaluate(const Expression& expression, Scope& scope);
  Value compare(const Expression& expression, Scope& scope);
  Value arithmetic(const Expression& expression, Scope& scope);
  Value slice(const Expression& expression, Scope& scope);
  Value call(const Expression& expression, Scope& scope);
  Value call_global(const std::string& name, Arguments arguments);
  Arguments arguments_of(const Expression& expression, std::string_view function, Scope& scope);

  void assign(const Target& target, const Value& value, Scope& scope);
  Scope& inside(const Scope& scope);
  void leave(const Scope& scope);
  void count_step();

  Scope root_;
  std::deque<Scope> scopes_;   // the innermost last; some that were left, for a macro may outlive its place
  std::vector<Value> spaces_;  // all namespaces: emptied at the end, since they can hold each other
  std::int64_t now_;
  std::size_t steps_ = 0;
  int depth_ = 0;
};

}  // namespace castline::chat
