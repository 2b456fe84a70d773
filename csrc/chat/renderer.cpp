#include "chat/renderer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "chat/texts.hpp"

namespace castline::chat {
namespace {

using Kind = Expression::Kind;

// A template that takes more is taken for one that does not end. A real one takes some ten steps per message.
constexpr std::size_t kMostSteps = 3'000'000;
constexpr int kDeepest = 200;                // expressions and macros inside each other
constexpr std::int64_t kLongest = 100'000;   // of a range, as in jinja2's sandbox
constexpr std::size_t kMostText = 64 << 20;  // bytes that a template may write or repeat

class Depth {
 public:
  explicit Depth(int& depth) : depth_(depth) {
    if (++depth_ > kDeepest) {
      --depth_;
      fail("expected at most " + std::to_string(kDeepest) +
           " expressions and macros inside each other, but got more");
    }
  }
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  int& depth_;
};

[[noreturn]] void fail_operands(std::string_view sign, const Value& a, const Value& b) {
  for (const Value* one : {&a, &b}) {
    if (one->is_undefined()) fail("'" + one->undefined().name + "' is undefined");
  }
  fail("[" + std::string(sign) + "] expected operands that go together, but got " +
       std::string(type_name(a)) + " and " + std::string(type_name(b)));
}

Value add(const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) return Value(a.text() + b.text());
  if (a.is_sequence() && b.is_sequence() && a.sequence().tuple == b.sequence().tuple) {
    std::vector<Value> items = a.sequence().items;
    items.insert(items.end(), b.sequence().items.begin(), b.sequence().items.end());
    return Value(std::move(items), a.sequence().tuple);
  }
  fail_operands("+", a, b);
}

Value repeat(const Value& a, const Value& b) {
  const Value& text = a.is_text() ? a : b;
  const Value& times = a.is_text() ? b : a;
  if (!text.is_text() || !(times.is_integer() || times.is_bool())) fail_operands("*", a, b);
  const std::int64_t count = std::max<std::int64_t>(times.integer(), 0);
  if (static_cast<std::uint64_t>(count) * text.text().size() > kMostText) fail("[*] expected a shorter text");
  std::string out;
  for (std::int64_t i = 0; i < count; ++i) out += text.text();
  return Value(out);
}

std::int64_t floor_divided(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value divide(Kind kind, const Value& a, const Value& b) {
  if (b.number() == 0) fail("expected a divisor other than 0");
  if (kind == Kind::divide) return Value(a.number() / b.number());
  const bool whole = !a.is_float() && !b.is_float();
  if (whole && b.integer() == -1) return kind == Kind::modulo ? Value(std::int64_t{0}) : Value(-a.number());
  if (whole) {
    const std::int64_t quotient = floor_divided(a.integer(), b.integer());
    return Value(kind == Kind::modulo ? a.integer() - quotient * b.integer() : quotient);
  }
  const double quotient = std::floor(a.number() / b.number());
  return Value(kind == Kind::modulo ? a.number() - quotient * b.number() : quotient);
}

Value whole_result(Kind kind, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  const bool overflow = kind == Kind::add        ? __builtin_add_overflow(a, b, &result)
                        : kind == Kind::subtract ? __builtin_sub_overflow(a, b, &result)
                                                 : __builtin_mul_overflow(a, b, &result);
  if (overflow) fail("expected integers of 64 bits, but got a larger one");
  return Value(result);
}

std::vector<Value> range_of(Arguments& arguments) {
  std::vector<std::int64_t> bounds;
  for (const Value& one : arguments.rest()) {
    if (!one.is_integer() && !one.is_bool())
      fail("[range] expected integers, but got " + std::string(type_name(one)));
    bounds.push_back(one.integer());
  }
  if (bounds.empty() || bounds.size() > 3) fail("[range] expected one to three integers");
  const std::int64_t start = bounds.size() > 1 ? bounds[0] : 0;
  const std::int64_t stop = bounds.size() > 1 ? bounds[1] : bounds[0];
  const std::int64_t step = bounds.size() > 2 ? bounds[2] : 1;
  if (step == 0) fail("[range] expected a step other than 0");
  std::vector<Value> numbers;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<std::int64_t>(numbers.size()) == kLongest) {
      fail("[range] expected at most " + std::to_string(kLongest) + " numbers");
    }
    numbers.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return numbers;
}

// `format` as strftime does it, in the machine's time zone.
std::string formatted_time(std::int64_t now, const std::string& format) {
  const std::time_t seconds = now;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  if (format.empty()) return {};
  std::array<char, 1024> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &parts);
  if (size == 0) fail("[strftime_now] expected a shorter format");
  return {buffer.data(), size};
}

}  // namespace

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
    const auto found = scope->names.find(name);
    if (found != scope->names.end()) return &found->second;
  }
  return nullptr;
}

Renderer::Renderer(const Mapping& context, std::int64_t now) : now_(now) {
  for (const char* name : {"dict", "namespace", "raise_exception", "range", "strftime_now"}) {
    root_.names.emplace(name, std::make_shared<const Function>(
                                  Function{Function::Kind::global, name, Value(), nullptr, nullptr}));
  }
  for (const auto& [name, value] : context.members) root_.names.insert_or_assign(name, value);
}

Renderer::~Renderer() {
  for (Value& space : spaces_) space.mapping().members.clear();
}

std::string Renderer::run(const Program& program) {
  std::string out;
  run(program, root_, out);
  return out;
}

Renderer::Flow Renderer::run(const std::vector<Statement>& body, Scope& scope, std::string& out) {
  const Depth depth(depth_);
  for (const Statement& statement : body) {
    if (const Flow flow = run(statement, scope, out); flow != Flow::on) return flow;
  }
  return Flow::on;
}

Renderer::Flow Renderer::run(const Statement& statement, Scope& scope, std::string& out) {
  count_step();
  switch (statement.kind) {
    case Statement::Kind::text:
      out += statement.text;
      break;
    case Statement::Kind::print:
      out += to_text(evaluate(statement.value, scope));
      break;
    case Statement::Kind::choose:
      return run(evaluate(statement.value, scope).truth() ? statement.body : statement.otherwise, scope, out);
    case Statement::Kind::loop:
      return loop(statement, scope, out);
    case Statement::Kind::set:
      assign(statement.targets[0], evaluate(statement.value, scope), scope);
      break;
    case Statement::Kind::capture: {
      std::string text;
      Scope& inner = inside(scope);
      const Flow flow = run(statement.body, inner, text);
      leave(inner);
      assign(statement.targets[0], Value(std::move(text)), scope);
      return flow;
    }
    case Statement::Kind::macro:
      scope.defines_macro = true;
      scope.names.insert_or_assign(
          statement.text, Value(std::make_shared<const Function>(
                              Function{Function::Kind::macro, statement.text, Value(), &statement, &scope})));
      break;
    case Statement::Kind::with: {
      Scope& inner = inside(scope);
      for (std::size_t i = 0; i < statement.targets.size(); ++i) {
        assign(statement.targets[i], evaluate(statement.values[i], scope), inner);
      }
      const Flow flow = run(statement.body, inner, out);
      leave(inner);
      return flow;
    }
    case Statement::Kind::block: {
      Scope& inner = inside(scope);
      const Flow flow = run(statement.body, inner, out);
      leave(inner);
      return flow;
    }
    case Statement::Kind::leave:
      return Flow::leave;
    case Statement::Kind::next:
      return Flow::next;
  }
  if (out.size() > kMostText) fail("expected a template that writes less than 64 MB");
  return Flow::on;
}

Renderer::Flow Renderer::loop(const Statement& statement, Scope& scope, std::string& out) {
  std::vector<Value> items = iterate(evaluate(statement.value, scope));
  if (statement.filter.kind != Kind::absent) {
    std::erase_if(items, [&](const Value& item) {
      Scope& inner = inside(scope);
      assign(statement.targets[0], item, inner);
      const bool takes = evaluate(statement.filter, inner).truth();
      leave(inner);
      return !takes;
    });
  }
  if (items.empty()) {
    Scope& inner = inside(scope);
    const Flow flow = run(statement.otherwise, inner, out);
    leave(inner);
    return flow;
  }
  const auto size = static_cast<std::int64_t>(items.size());
  for (std::int64_t i = 0; i < size; ++i) {
    count_step();
    const auto neighbour = [&](std::int64_t index, const char* name) {
      return index >= 0 && index < size ? items[static_cast<std::size_t>(index)] : Value(Undefined{name});
    };
    Mapping about;
    about.members = {{"index", Value(i + 1)},
                     {"index0", Value(i)},
                     {"revindex", Value(size - i)},
                     {"revindex0", Value(size - i - 1)},
                     {"first", Value(i == 0)},
                     {"last", Value(i == size - 1)},
                     {"length", Value(size)},
                     {"previtem", neighbour(i - 1, "loop.previtem")},
                     {"nextitem", neighbour(i + 1, "loop.nextitem")}};
    Scope& inner = inside(scope);
    assign(statement.targets[0], items[static_cast<std::size_t>(i)], inner);
    inner.names.insert_or_assign("loop", Value(std::move(about)));
    const Flow flow = run(statement.body, inner, out);
    leave(inner);
    if (flow == Flow::leave) break;
  }
  return Flow::on;
}

std::string Renderer::call_macro(const Function& function, Arguments arguments) {
  const Depth depth(depth_);
  const Statement& macro = *function.macro;
  Scope& scope = inside(*function.scope);
  const std::size_t first_default = macro.parameters.size() - macro.values.size();
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const std::string& name = macro.parameters[i];
    const Value* given = arguments.take(name);
    scope.names.insert_or_assign(name, given != nullptr     ? *given
                                       : i >= first_default ? evaluate(macro.values[i - first_default], scope)
                                                            : Value(Undefined{name}));
  }
  arguments.finish();
  std::string out;
  run(macro.body, scope, out);
  leave(scope);
  return out;
}

Value Renderer::evaluate(const Expression& e, Scope& scope) {
  count_step();
  const Depth depth(depth_);
  switch (e.kind) {
    case Kind::absent:
      return Value();
    case Kind::constant:
      return e.constant;
    case Kind::name: {
      const Value* found = scope.find(e.name);
      return found != nullptr ? *found : Value(Undefined{e.name});
    }
    case Kind::attribute:
      return attribute(evaluate(e.parts[0], scope), e.name);
    case Kind::item: {
      const Value container = evaluate(e.parts[0], scope);
      return item(container, evaluate(e.parts[1], scope));
    }
    case Kind::slice:
      return slice(e, scope);
    case Kind::call:
      return call(e, scope);
    case Kind::filter: {
      const Value value = evaluate(e.parts[0], scope);
      return apply_filter(e.name, value, arguments_of(e, e.name, scope));
    }
    case Kind::test: {
      const Value value = evaluate(e.parts[0], scope);
      return Value(apply_test(e.name, value, arguments_of(e, e.name, scope).rest()));
    }
    case Kind::choose:
      if (evaluate(e.parts[0], scope).truth()) return evaluate(e.parts[1], scope);
      if (e.parts[2].kind != Kind::absent) return evaluate(e.parts[2], scope);
      return Value(Undefined{"the value of an if without else"});
    case Kind::compare:
      return compare(e, scope);
    case Kind::logical_and: {
      const Value first = evaluate(e.parts[0], scope);
      return first.truth() ? evaluate(e.parts[1], scope) : first;
    }
    case Kind::logical_or: {
      const Value first = evaluate(e.parts[0], scope);
      return first.truth() ? first : evaluate(e.parts[1], scope);
    }
    case Kind::logical_not:
      return Value(!evaluate(e.parts[0], scope).truth());
    case Kind::concat: {
      std::string out;
      for (const Expression& part : e.parts) out += to_text(evaluate(part, scope));
      return Value(std::move(out));
    }
    case Kind::list:
    case Kind::tuple: {
      std::vector<Value> items;
      for (const Expression& part : e.parts) items.push_back(evaluate(part, scope));
      return Value(std::move(items), e.kind == Kind::tuple);
    }
    case Kind::dict: {
      Mapping map;
      for (std::size_t i = 0; i + 1 < e.parts.size(); i += 2) {
        const Value key = evaluate(e.parts[i], scope);
        if (!key.is_text()) fail("expected strings as keys, but got " + std::string(type_name(key)));
        map.set(key.text(), evaluate(e.parts[i + 1], scope));
      }
      return Value(std::move(map));
    }
    default:
      return arithmetic(e, scope);
  }
}

Value Renderer::compare(const Expression& e, Scope& scope) {
  Value left = evaluate(e.parts[0], scope);
  for (std::size_t i = 0; i < e.operators.size(); ++i) {
    const std::string& sign = e.operators[i];
    const Value right = evaluate(e.parts[i + 1], scope);
    const bool orders = sign != "eq" && sign != "ne" && sign != "in" && sign != "notin";
    if (orders && (left.is_undefined() || right.is_undefined())) fail_operands(sign, left, right);
    const bool holds = sign == "eq"      ? equal(left, right)
                       : sign == "ne"    ? !equal(left, right)
                       : sign == "lt"    ? less(left, right)
                       : sign == "lteq"  ? !less(right, left)
                       : sign == "gt"    ? less(right, left)
                       : sign == "gteq"  ? !less(left, right)
                       : sign == "in"    ? contains(right, left)
                       : sign == "notin" ? !contains(right, left)
                                         : (fail("expected a comparison, but got '" + sign + "'"), false);
    if (!holds) return Value(false);
    left = right;
  }
  return Value(true);
}

Value Renderer::arithmetic(const Expression& e, Scope& scope) {
  const Value a = evaluate(e.parts[0], scope);
  if (e.kind == Kind::negative) {
    if (!a.is_number()) fail_operands("-", a, a);
    return a.is_float() ? Value(-a.number()) : whole_result(Kind::subtract, 0, a.integer());
  }
  const Value b = evaluate(e.parts[1], scope);
  const bool numbers = a.is_number() && b.is_number();
  if (e.kind == Kind::add && !numbers) return add(a, b);
  if (e.kind == Kind::multiply && !numbers) return repeat(a, b);
  if (!numbers) fail_operands("arithmetic", a, b);
  const bool whole = !a.is_float() && !b.is_float();
  switch (e.kind) {
    case Kind::add:
      return whole ? whole_result(e.kind, a.integer(), b.integer()) : Value(a.number() + b.number());
    case Kind::subtract:
      return whole ? whole_result(e.kind, a.integer(), b.integer()) : Value(a.number() - b.number());
    case Kind::multiply:
      return whole ? whole_result(e.kind, a.integer(), b.integer()) : Value(a.number() * b.number());
    case Kind::power: {
      const double power = std::pow(a.number(), b.number());
      const bool fits = whole && b.integer() >= 0 && std::abs(power) < 9007199254740992.0;
      return fits ? Value(static_cast<std::int64_t>(power)) : Value(power);
    }
    default:
      return divide(e.kind, a, b);
  }
}

Value Renderer::slice(const Expression& e, Scope& scope) {
  const Value value = evaluate(e.parts[0], scope);
  if (!value.is_text() && !value.is_sequence()) fail_operands("[:]", value, value);
  const std::vector<Value> items = iterate(value);
  const auto size = static_cast<std::int64_t>(items.size());
  const auto bound = [&](std::size_t part, std::int64_t standard, std::int64_t least, std::int64_t most) {
    const Value given = evaluate(e.parts[part], scope);
    if (given.is_none()) return standard;
    if (!given.is_integer() && !given.is_bool()) fail_operands("[:]", value, given);
    const std::int64_t index = given.integer();
    return std::clamp(index < 0 ? std::max(index, -size - 1) + size : index, least, most);
  };
  const Value given_step = evaluate(e.parts[3], scope);
  const std::int64_t step =
      given_step.is_none() ? 1 : std::clamp<std::int64_t>(given_step.integer(), -size - 1, size + 1);
  if (step == 0) fail("[:] expected a step other than 0");
  const bool forward = step > 0;
  const std::int64_t least = forward ? 0 : -1;
  const std::int64_t most = forward ? size : size - 1;
  const std::int64_t start = bound(1, forward ? 0 : size - 1, least, most);
  const std::int64_t stop = bound(2, forward ? size : -1, least, most);
  std::vector<Value> taken;
  for (std::int64_t i = start; forward ? i < stop : i > stop; i += step)
    taken.push_back(items[static_cast<std::size_t>(i)]);
  if (value.is_sequence()) return Value(std::move(taken), value.sequence().tuple);
  std::string text;
  for (const Value& one : taken) text += one.text();
  return Value(std::move(text));
}

Value Renderer::call(const Expression& e, Scope& scope) {
  const Value called = evaluate(e.parts[0], scope);
  if (called.is_undefined()) fail("'" + called.undefined().name + "' is undefined, so it cannot be called");
  if (!called.is_function()) fail("expected something to call, but got " + std::string(type_name(called)));
  const Function& function = called.function();
  Arguments arguments = arguments_of(e, function.name, scope);
  switch (function.kind) {
    case Function::Kind::global:
      return call_global(function.name, std::move(arguments));
    case Function::Kind::method:
      return call_method(function.self, function.name, std::move(arguments));
    case Function::Kind::macro:
      return Value(call_macro(function, std::move(arguments)));
  }
  return Value();
}

Value Renderer::call_global(const std::string& name, Arguments arguments) {
  Value result;
  if (name == "raise_exception") fail(to_text(arguments.need("message")));
  if (name == "strftime_now") {
    result = Value(formatted_time(now_, arguments.need_text("format")));
  } else if (name == "range") {
    result = Value(range_of(arguments));
  } else {
    Mapping map;
    for (const Value& other : arguments.rest()) {
      if (!other.is_mapping())
        fail("[" + name + "] expected a mapping, but got " + std::string(type_name(other)));
      for (const auto& [key, value] : other.mapping().members) map.set(key, value);
    }
    for (const auto& [key, value] : arguments.named_rest()) map.set(key, value);
    map.space = name == "namespace";
    result = Value(std::move(map));
    if (name == "namespace") spaces_.push_back(result);
  }
  arguments.finish();
  return result;
}

Arguments Renderer::arguments_of(const Expression& e, std::string_view function, Scope& scope) {
  std::vector<Value> positional;
  for (const Expression& one : e.arguments) positional.push_back(evaluate(one, scope));
  std::vector<std::pair<std::string, Value>> keywords;
  for (const auto& [name, value] : e.keywords) keywords.emplace_back(name, evaluate(value, scope));
  return {function, std::move(positional), std::move(keywords)};
}

void Renderer::assign(const Target& target, const Value& value, Scope& scope) {
  if (!target.several.empty()) {
    const std::vector<Value> items = iterate(value);
    if (items.size() != target.several.size()) {
      fail("expected " + std::to_string(target.several.size()) + " values to assign, but got " +
           std::to_string(items.size()));
    }
    for (std::size_t i = 0; i < items.size(); ++i) assign(target.several[i], items[i], scope);
    return;
  }
  if (target.field.empty()) {
    scope.names.insert_or_assign(target.name, value);
    return;
  }
  const Value* space = scope.find(target.name);
  if (space == nullptr || !space->is_mapping() || !space->mapping().space) {
    fail("expected '" + target.name + "' to be a namespace, whose fields can be set");
  }
  Value(*space).mapping().set(target.field, value);
}

Scope& Renderer::inside(const Scope& scope) { return scopes_.emplace_back(Scope{&scope}); }

void Renderer::leave(const Scope& scope) {
  // Scopes behind it were kept for their macros, which see this one.
  if (!scope.defines_macro && &scopes_.back() == &scope) scopes_.pop_back();
}

void Renderer::count_step() {
  if (++steps_ > kMostSteps) fail("expected a template that comes to an end, but it went on and on");
}

}  // namespace castline::chat
