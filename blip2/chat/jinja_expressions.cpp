#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/chat/jinja_parser_internal.h"

namespace blip2 {

using TokenKind = JinjaToken::Kind;

JinjaExpressionPtr JinjaParser::make(Kind kind, int line, std::vector<JinjaExpressionPtr> parts,
                                     std::string name) {
  auto made = std::make_unique<JinjaExpression>(JinjaExpression{kind, line, std::move(name)});
  for (const auto& part : parts) {
    if (part) made->height = std::max(made->height, part->height + 1);
  }
  if (made->height > kDepth) fail("the parts of an expression are nested too deeply");
  made->parts = std::move(parts);
  return made;
}

namespace {

template <typename... Parts>
std::vector<JinjaExpressionPtr> parts_of(Parts... parts) {
  std::vector<JinjaExpressionPtr> all;
  (all.push_back(std::move(parts)), ...);
  return all;
}

}  // namespace

JinjaExpressionPtr JinjaParser::parse_expression() {
  const Nesting nesting(*this);
  JinjaExpressionPtr value = parse_either();
  while (is_word("if")) {
    const int line = take().line;
    JinjaExpressionPtr test = parse_either(), otherwise;
    if (skip_word("else")) otherwise = parse_expression();
    value = make(Kind::condition, line,
                 parts_of(std::move(test), std::move(value), std::move(otherwise)));
  }
  return value;
}

// One value, or several with commas between them, which are a tuple.
JinjaExpressionPtr JinjaParser::parse_list_of_values(bool conditions) {
  const int line = token().line;
  const auto one = [&] { return conditions ? parse_expression() : parse_either(); };
  JinjaExpressionPtr first = one();
  if (!is_sign(",")) return first;
  std::vector<JinjaExpressionPtr> parts = parts_of(std::move(first));
  while (skip_sign(",")) {
    const bool ends = is(TokenKind::variable_end) || is(TokenKind::block_end) || is_sign(")");
    if (ends) break;
    parts.push_back(one());
  }
  return make(Kind::tuple, line, std::move(parts));
}

JinjaExpressionPtr JinjaParser::parse_either() {
  JinjaExpressionPtr left = parse_both();
  while (is_word("or")) {
    const int line = take().line;
    left = make(Kind::either, line, parts_of(std::move(left), parse_both()));
  }
  return left;
}

JinjaExpressionPtr JinjaParser::parse_both() {
  JinjaExpressionPtr left = parse_not();
  while (is_word("and")) {
    const int line = take().line;
    left = make(Kind::both, line, parts_of(std::move(left), parse_not()));
  }
  return left;
}

JinjaExpressionPtr JinjaParser::parse_not() {
  if (!is_word("not")) return parse_compare();
  const Nesting nesting(*this);
  const int line = take().line;
  return make(Kind::negate, line, parts_of(parse_not()));
}

JinjaExpressionPtr JinjaParser::parse_compare() {
  const int line = token().line;
  std::vector<JinjaExpressionPtr> parts = parts_of(parse_sum());
  std::vector<std::string> signs;
  const auto comparison = [&]() -> std::string {
    for (const char* sign : {"==", "!=", "<", "<=", ">", ">="}) {
      if (skip_sign(sign)) return sign;
    }
    if (skip_word("in")) return "in";
    if (!is_word("not") || behind().kind != TokenKind::name || behind().text != "in") return {};
    at_ += 2;
    return "not in";
  };
  for (std::string sign; !(sign = comparison()).empty();) {
    signs.push_back(std::move(sign));
    parts.push_back(parse_sum());
  }
  if (signs.empty()) return std::move(parts[0]);
  JinjaExpressionPtr made = make(Kind::compare, line, std::move(parts));
  made->names = std::move(signs);
  return made;
}

JinjaExpressionPtr JinjaParser::parse_binary(JinjaExpressionPtr (JinjaParser::*next)(),
                                             std::initializer_list<std::string_view> signs) {
  JinjaExpressionPtr left = (this->*next)();
  while (std::any_of(signs.begin(), signs.end(), [&](auto sign) { return is_sign(sign); })) {
    const JinjaToken sign = take();
    left = make(Kind::binary, sign.line, parts_of(std::move(left), (this->*next)()), sign.text);
  }
  return left;
}

JinjaExpressionPtr JinjaParser::parse_sum() {
  return parse_binary(&JinjaParser::parse_joined, {"+", "-"});
}
JinjaExpressionPtr JinjaParser::parse_joined() {
  return parse_binary(&JinjaParser::parse_product, {"~"});
}
JinjaExpressionPtr JinjaParser::parse_product() {
  return parse_binary(&JinjaParser::parse_power, {"*", "/", "//", "%"});
}

JinjaExpressionPtr JinjaParser::parse_power() {
  JinjaExpressionPtr left = parse_unary(true);
  while (is_sign("**")) {
    const JinjaToken sign = take();
    left = make(Kind::binary, sign.line, parts_of(std::move(left), parse_unary(true)), sign.text);
  }
  return left;
}

JinjaExpressionPtr JinjaParser::parse_unary(bool filters) {
  const Nesting nesting(*this);
  JinjaExpressionPtr value;
  if (is_sign("-") || is_sign("+")) {
    const JinjaToken sign = take();
    value =
        make(sign.text == "-" ? Kind::minus : Kind::plus, sign.line, parts_of(parse_unary(false)));
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return filters ? parse_filters(std::move(value)) : std::move(value);
}

JinjaExpressionPtr JinjaParser::parse_primary() {
  JinjaExpressionPtr made = make(Kind::constant, token().line);
  switch (token().kind) {
    case TokenKind::integer:
      made->constant = take().integer;
      return made;
    case TokenKind::real:
      made->constant = take().real;
      return made;
    case TokenKind::string:
      made->constant = std::string();
      while (is(TokenKind::string)) std::get<std::string>(made->constant) += take().text;
      return made;
    case TokenKind::name:
      return parse_name();
    default:
      return parse_bracketed();
  }
}

JinjaExpressionPtr JinjaParser::parse_name() {
  const JinjaToken name = take();
  const auto constant = [&](auto value) {
    JinjaExpressionPtr made = make(Kind::constant, name.line);
    made->constant = value;
    return made;
  };
  if (name.text == "true" || name.text == "True") return constant(true);
  if (name.text == "false" || name.text == "False") return constant(false);
  if (name.text == "none" || name.text == "None") return constant(nullptr);
  names_.insert(name.text);
  return make(Kind::name, name.line, {}, name.text);
}

// What begins with a bracket.
JinjaExpressionPtr JinjaParser::parse_bracketed() {
  const int line = token().line;
  if (is_sign("{")) return parse_dict();
  if (skip_sign("(")) {
    if (skip_sign(")")) return make(Kind::tuple, line);
    JinjaExpressionPtr value = parse_list_of_values(true);
    need_sign(")");
    return value;
  }
  if (!skip_sign("[")) fail("expected a value, got " + seen());
  std::vector<JinjaExpressionPtr> parts;
  while (!skip_sign("]")) {
    if (!parts.empty()) need_sign(",");
    if (skip_sign("]")) break;
    parts.push_back(parse_expression());
  }
  return make(Kind::list, line, std::move(parts));
}

JinjaExpressionPtr JinjaParser::parse_dict() {
  const int line = take().line;
  std::vector<JinjaExpressionPtr> parts;
  while (!skip_sign("}")) {
    if (!parts.empty()) need_sign(",");
    if (skip_sign("}")) break;
    parts.push_back(parse_expression());
    need_sign(":");
    parts.push_back(parse_expression());
  }
  return make(Kind::dict, line, std::move(parts));
}

JinjaExpressionPtr JinjaParser::parse_postfix(JinjaExpressionPtr value) {
  while (true) {
    if (is_sign(".")) {
      const int line = take().line;
      if (is(TokenKind::integer)) {
        JinjaExpressionPtr place = parse_primary();
        value = make(Kind::place, line, parts_of(std::move(value), std::move(place)));
      } else {
        value = make(Kind::member, line, parts_of(std::move(value)), take_name());
      }
    } else if (is_sign("[")) {
      value = parse_place(std::move(value));
    } else if (is_sign("(")) {
      const int line = token().line;
      value = add_arguments(make(Kind::call, line, parts_of(std::move(value))));
    } else {
      return value;
    }
  }
}

// value[place] or value[start:stop:step].
JinjaExpressionPtr JinjaParser::parse_place(JinjaExpressionPtr value) {
  const int line = take().line;
  const auto bound = [&]() -> JinjaExpressionPtr {
    if (is_sign(":") || is_sign("]")) return nullptr;
    return parse_expression();
  };
  JinjaExpressionPtr first = bound();
  if (!is_sign(":")) {
    if (!first) fail("expected a place, got " + seen());
    need_sign("]");
    return make(Kind::place, line, parts_of(std::move(value), std::move(first)));
  }
  take();
  JinjaExpressionPtr stop = bound(), step;
  if (skip_sign(":")) step = bound();
  need_sign("]");
  return make(Kind::slice, line,
              parts_of(std::move(value), std::move(first), std::move(stop), std::move(step)));
}

JinjaExpressionPtr JinjaParser::parse_filters(JinjaExpressionPtr value) {
  while (true) {
    if (skip_sign("|")) {
      value = parse_filter(std::move(value));
    } else if (is_word("is")) {
      take();
      value = parse_test(std::move(value));
    } else if (is_sign("(")) {
      const int line = token().line;
      value = add_arguments(make(Kind::call, line, parts_of(std::move(value))));
    } else {
      return value;
    }
  }
}

JinjaExpressionPtr JinjaParser::parse_filter(JinjaExpressionPtr value) {
  const int line = token().line;
  std::string name = take_name();
  JinjaExpressionPtr made = make(Kind::filter, line, parts_of(std::move(value)), std::move(name));
  return is_sign("(") ? add_arguments(std::move(made)) : std::move(made);
}

JinjaExpressionPtr JinjaParser::parse_test(JinjaExpressionPtr value) {
  const bool negated = skip_word("not");
  const int line = token().line;
  std::string name = take_name();
  JinjaExpressionPtr made = make(Kind::test, line, parts_of(std::move(value)), std::move(name));
  const bool word = is(TokenKind::name) && !is_word("else") && !is_word("or") && !is_word("and") &&
                    !is_word("if") && !is_word("is") && !is_word("in") && !is_word("not");
  const bool literal = is(TokenKind::string) || is(TokenKind::integer) || is(TokenKind::real) ||
                       is_sign("[") || is_sign("{");
  if (is_sign("(")) {
    made = add_arguments(std::move(made));
  } else if (word || literal) {
    made->arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  return negated ? make(Kind::negate, line, parts_of(std::move(made))) : std::move(made);
}

JinjaExpressionPtr JinjaParser::add_arguments(JinjaExpressionPtr to) {
  need_sign("(");
  JinjaArgumentList& list = to->arguments;
  const auto value = [&] {
    JinjaExpressionPtr made = parse_expression();
    to->height = std::max(to->height, made->height + 1);
    return made;
  };
  for (bool first = true; !skip_sign(")"); first = false) {
    if (!first) need_sign(",");
    if (skip_sign(")")) break;
    const bool named =
        is(TokenKind::name) && behind().kind == TokenKind::sign && behind().text == "=";
    if (named) {
      std::string name = take_name();
      take();
      list.named.emplace_back(std::move(name), value());
    } else if (!list.spread && skip_sign("*")) {
      list.spread = value();
    } else if (!list.spread_named && skip_sign("**")) {
      list.spread_named = value();
    } else if (!list.named.empty() || list.spread || list.spread_named) {
      fail("an argument without a name follows a named one");
    } else {
      list.positional.push_back(value());
    }
  }
  if (to->height > kDepth) fail("the parts of an expression are nested too deeply");
  return to;
}

}  // namespace blip2
