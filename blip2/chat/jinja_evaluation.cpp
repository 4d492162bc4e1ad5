#include <fmt/format.h>

#include <ctime>

#include "blip2/chat/jinja_evaluator_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::int64_t kLongestRange = 100'000;  // as Jinja's sandbox has it

}  // namespace

JinjaValue JinjaEvaluator::evaluate(const JinjaExpression& expression) {
  heap_.step();
  const JinjaHeap::Nesting nesting(heap_);
  return evaluate_kind(expression);
}

JinjaValue JinjaEvaluator::evaluate_kind(const JinjaExpression& expression) {
  using Kind = JinjaExpression::Kind;
  switch (expression.kind) {
    case Kind::constant:
      return constant(expression);
    case Kind::name:
      return look_up(expression.name);
    case Kind::list:
      return heap_.list(evaluate_all(expression.parts));
    case Kind::tuple:
      return heap_.list(evaluate_all(expression.parts), JinjaList::Kind::tuple);
    case Kind::dict:
      return evaluate_dict(expression);
    case Kind::slice:
      return evaluate_slice(expression);
    case Kind::filter:
      return evaluate_filter(expression, nullptr);
    case Kind::compare:
      return evaluate_compare(expression);
    case Kind::minus:
    case Kind::plus:
      return evaluate_sign(expression);
    case Kind::negate:
    case Kind::both:
    case Kind::either:
    case Kind::condition:
      return evaluate_choice(expression);
    default:
      return evaluate_access(expression);
  }
}

// What decides by whether a part is true.
JinjaValue JinjaEvaluator::evaluate_choice(const JinjaExpression& expression) {
  using Kind = JinjaExpression::Kind;
  const JinjaValue first = evaluate(*expression.parts[0]);
  if (expression.kind == Kind::negate) return !is_true(first);
  if (expression.kind == Kind::both) return is_true(first) ? evaluate(*expression.parts[1]) : first;
  if (expression.kind == Kind::either)
    return is_true(first) ? first : evaluate(*expression.parts[1]);
  if (is_true(first)) return evaluate(*expression.parts[1]);
  if (expression.parts[2]) return evaluate(*expression.parts[2]);
  return heap_.undefined("an inline 'if' without 'else' was false");
}

// Members, places, calls, tests and operators: what is done with a value, and perhaps another one.
JinjaValue JinjaEvaluator::evaluate_access(const JinjaExpression& expression) {
  using Kind = JinjaExpression::Kind;
  const JinjaValue value = evaluate(*expression.parts[0]);
  if (expression.kind == Kind::call || expression.kind == Kind::test) {
    const JinjaArguments arguments = evaluate_arguments(expression.arguments);
    line_ = expression.line;
    if (expression.kind == Kind::call) return call(value, arguments);
    return apply_test(heap_, expression.name, value, arguments);
  }
  if (expression.kind == Kind::member) {
    line_ = expression.line;
    return member_of(heap_, value, expression.name);
  }
  const JinjaValue other = evaluate(*expression.parts[1]);
  line_ = expression.line;
  return expression.kind == Kind::place ? place_of(heap_, value, other)
                                        : apply_operator(heap_, expression.name, value, other);
}

JinjaValue JinjaEvaluator::constant(const JinjaExpression& expression) {
  if (const auto* text = std::get_if<std::string>(&expression.constant)) return heap_.own(*text);
  if (const auto* truth = std::get_if<bool>(&expression.constant)) return *truth;
  if (const auto* whole = std::get_if<std::int64_t>(&expression.constant)) return *whole;
  if (const auto* real = std::get_if<double>(&expression.constant)) return *real;
  return JinjaNone{};
}

JinjaValue JinjaEvaluator::look_up(const std::string& name) {
  if (const JinjaValue* found = scope_->find(heap_, name)) return *found;
  return heap_.undefined("'" + name + "' is undefined");
}

std::vector<JinjaValue> JinjaEvaluator::evaluate_all(const std::vector<JinjaExpressionPtr>& parts) {
  std::vector<JinjaValue> values;
  for (const JinjaExpressionPtr& part : parts) values.push_back(evaluate(*part));
  return values;
}

JinjaValue JinjaEvaluator::evaluate_dict(const JinjaExpression& expression) {
  JinjaDict* dict = heap_.dict();
  for (std::size_t i = 0; i + 1 < expression.parts.size(); i += 2) {
    const JinjaValue key = evaluate(*expression.parts[i]);
    const JinjaValue value = evaluate(*expression.parts[i + 1]);
    line_ = expression.line;
    heap_.set(*dict, key, value);
  }
  return dict;
}

JinjaValue JinjaEvaluator::evaluate_slice(const JinjaExpression& expression) {
  const JinjaValue value = evaluate(*expression.parts[0]);
  const auto bound = [&](std::size_t i) -> std::optional<std::int64_t> {
    if (!expression.parts[i]) return std::nullopt;
    const JinjaValue given = evaluate(*expression.parts[i]);
    line_ = expression.line;
    if (is_none(given)) return std::nullopt;
    if (const auto whole = whole_number(given)) {
      return std::clamp<std::int64_t>(*whole, -(std::int64_t{1} << 40), std::int64_t{1} << 40);
    }
    jinja_fault("the bounds of a slice must be integers");
  };
  const JinjaSlice slice{bound(1), bound(2), bound(3)};
  line_ = expression.line;
  return slice_of(heap_, value, slice);
}

JinjaValue JinjaEvaluator::evaluate_compare(const JinjaExpression& expression) {
  JinjaValue left = evaluate(*expression.parts[0]);
  for (std::size_t i = 0; i < expression.names.size(); ++i) {
    const JinjaValue right = evaluate(*expression.parts[i + 1]);
    line_ = expression.line;
    if (!compare_values(heap_, expression.names[i], left, right)) return false;
    left = right;
  }
  return true;
}

JinjaValue JinjaEvaluator::evaluate_sign(const JinjaExpression& expression) {
  const JinjaValue value = evaluate(*expression.parts[0]);
  line_ = expression.line;
  const bool minus = expression.kind == JinjaExpression::Kind::minus;
  return apply_operator(heap_, minus ? "-" : "+", std::int64_t{0}, value);
}

JinjaValue JinjaEvaluator::evaluate_filter(const JinjaExpression& expression,
                                           const JinjaValue* filtered) {
  const JinjaHeap::Nesting nesting(heap_);
  const JinjaExpressionPtr& part = expression.parts[0];
  const JinjaValue subject = !part      ? *filtered
                             : filtered ? evaluate_filter(*part, filtered)
                                        : evaluate(*part);
  const JinjaArguments arguments = evaluate_arguments(expression.arguments);
  line_ = expression.line;
  return apply_filter(heap_, expression.name, subject, arguments);
}

JinjaArguments JinjaEvaluator::evaluate_arguments(const JinjaArgumentList& list) {
  JinjaArguments arguments{evaluate_all(list.positional), {}};
  for (const auto& [name, value] : list.named) arguments.named.emplace_back(name, evaluate(*value));
  if (list.spread) {
    const JinjaList* more = iterate(heap_, evaluate(*list.spread));
    heap_.step(more->items.size());
    arguments.positional.insert(arguments.positional.end(), more->items.begin(), more->items.end());
  }
  if (list.spread_named) {
    const JinjaValue named = evaluate(*list.spread_named);
    const JinjaDict* dict = as<JinjaDict*>(named);
    if (!dict) jinja_fault("** needs a mapping, got a value of type " + type_name(named));
    for (const auto& [key, value] : dict->entries) {
      arguments.named.emplace_back(as_text(heap_, key).bytes(), value);
    }
  }
  return arguments;
}

JinjaValue JinjaEvaluator::call(const JinjaValue& callee, const JinjaArguments& arguments) {
  if (const auto* undefined = std::get_if<JinjaUndefined>(&callee)) jinja_fault(*undefined->why);
  const JinjaCallable* called = as<const JinjaCallable*>(callee);
  if (!called) jinja_fault("a value of type " + type_name(callee) + " cannot be called");
  if (called->kind == JinjaCallable::Kind::macro) return call_macro(*called, arguments);
  return called->kind == JinjaCallable::Kind::method ? call_method(heap_, *called, arguments)
                                                     : call_global(called->name, arguments);
}

JinjaValue JinjaEvaluator::call_global(const std::string& name, const JinjaArguments& arguments) {
  if (name == "range") return make_range(arguments);
  if (name == "dict") return make_dict(arguments);
  if (name == "namespace") return make_namespace(arguments);
  if (name == "strftime_now") return format_time(arguments);
  const JinjaBound bound(name, arguments, {"message"});
  jinja_fault("the template refuses this dialogue: " +
              one_line(as_text(heap_, bound.need(0)).bytes()));
}

JinjaValue JinjaEvaluator::call_macro(const JinjaCallable& macro, const JinjaArguments& arguments) {
  const JinjaHeap::Nesting nesting(heap_);
  const JinjaScopeGuard scope(heap_, scope_, macro.scope);
  const int line = line_;
  bind(*macro.macro, arguments);
  JinjaText text = captured(macro.macro->body).first;
  line_ = line;
  return heap_.text(std::move(text));
}

// Sets the macro's parameters in the current scope.
void JinjaEvaluator::bind(const JinjaStatement& macro, JinjaArguments arguments) {
  const auto& parameters = macro.parameters;
  const auto take_named = [&](const std::string& name) -> std::optional<JinjaValue> {
    heap_.step(arguments.named.size());
    for (auto one = arguments.named.begin(); one != arguments.named.end(); ++one) {
      if (one->first != name) continue;
      const JinjaValue value = one->second;
      arguments.named.erase(one);
      return value;
    }
    return std::nullopt;
  };
  const std::string shown = macro.name.empty() ? "caller" : macro.name;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string& name = parameters[i].name;
    std::optional<JinjaValue> value = take_named(name);
    if (i < arguments.positional.size()) {
      if (value) jinja_fault(fmt::format("{}() got '{}' twice", shown, name));
      value = arguments.positional[i];
    }
    if (!value && parameters[i].otherwise) value = evaluate(*parameters[i].otherwise);
    scope_->set(
        heap_, name,
        value ? *value : heap_.undefined(fmt::format("{}() was not given '{}'", shown, name)));
  }
  if (const auto caller = take_named("caller")) scope_->set(heap_, "caller", *caller);
  std::vector<JinjaValue> more;
  for (std::size_t i = parameters.size(); i < arguments.positional.size(); ++i) {
    more.push_back(arguments.positional[i]);
  }
  if (!more.empty() && !macro.takes_more) {
    jinja_fault(fmt::format("{}() takes {} arguments at most", shown, parameters.size()));
  }
  if (!arguments.named.empty() && !macro.takes_named) {
    jinja_fault(fmt::format("{}() takes no argument '{}'", shown, arguments.named[0].first));
  }
  if (macro.takes_more)
    scope_->set(heap_, "varargs", heap_.list(std::move(more), JinjaList::Kind::tuple));
  if (macro.takes_named) scope_->set(heap_, "kwargs", make_dict({{}, arguments.named}));
}

JinjaValue JinjaEvaluator::make_range(const JinjaArguments& arguments) {
  std::vector<std::int64_t> given;
  for (const JinjaValue& value : arguments.positional) {
    const auto whole = whole_number(value);
    if (!whole) jinja_fault("range() needs integers, got a value of type " + type_name(value));
    given.push_back(*whole);
  }
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) {
    jinja_fault("range() takes one to three integers");
  }
  const std::int64_t start = given.size() > 1 ? given[0] : 0;
  const std::int64_t stop = given.size() > 1 ? given[1] : given[0];
  const std::int64_t step = given.size() > 2 ? given[2] : 1;
  if (step == 0) jinja_fault("the step of a range is 0");
  std::vector<JinjaValue> items;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (std::ssize(items) >= kLongestRange) {
      jinja_fault(fmt::format("a range may have {} items at most", kLongestRange));
    }
    items.push_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return heap_.list(std::move(items), JinjaList::Kind::range);
}

// dict(…) of a mapping or of pairs, and of named arguments.
JinjaValue JinjaEvaluator::make_dict(const JinjaArguments& arguments) {
  JinjaDict* dict = heap_.dict();
  if (arguments.positional.size() > 1) jinja_fault("dict() takes one value at most");
  for (const JinjaValue& value : arguments.positional) {
    if (const JinjaDict* other = as<JinjaDict*>(value)) {
      for (const auto& [key, entry] : other->entries) heap_.set(*dict, key, entry);
      continue;
    }
    for (const JinjaValue& item : iterate(heap_, value)->items) {
      const JinjaList* pair = iterate(heap_, item);
      if (pair->items.size() != 2) jinja_fault("dict() needs pairs");
      heap_.set(*dict, pair->items[0], pair->items[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) heap_.set(*dict, heap_.own(name), value);
  return dict;
}

JinjaValue JinjaEvaluator::make_namespace(const JinjaArguments& arguments) {
  const JinjaValue made = heap_.space();
  JinjaNamespace& space = *as<JinjaNamespace*>(made);
  const JinjaDict& members = *as<JinjaDict*>(make_dict(arguments));
  for (const auto& [key, value] : members.entries) {
    const JinjaText* name = text_in(key);
    if (!name || name->bytes().starts_with("_")) {
      jinja_fault("a namespace has no members that begin with _");
    }
    space.members.emplace_back(name->bytes(), value);
  }
  return made;
}

JinjaValue JinjaEvaluator::format_time(const JinjaArguments& arguments) {
  const std::string& format =
      JinjaBound("strftime_now", arguments, {"format"}).need_text(0).bytes();
  if (format.size() > 200) jinja_fault("strftime_now() takes a format of 200 bytes at most");
  char text[4096];
  const std::size_t written = std::strftime(text, sizeof text, format.c_str(), &now_);
  return heap_.own(to_valid_utf8(std::string_view(text, written)));
}

}  // namespace blip2
