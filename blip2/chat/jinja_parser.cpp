#include "blip2/chat/jinja_parser_internal.h"

#include <fmt/format.h>

#include <array>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using TokenKind = JinjaToken::Kind;
using StatementKind = JinjaStatement::Kind;

constexpr auto kOfFiles =
    std::to_array<std::string_view>({"include", "import", "from", "extends", "block"});

}  // namespace

void JinjaParser::fail(const std::string& message) const {
  throw Error(message, jinja_place(where_, token().line));
}

std::string JinjaParser::seen() const {
  switch (token().kind) {
    case TokenKind::end:
      return "the end of the template";
    case TokenKind::variable_end:
      return "}}";
    case TokenKind::block_end:
      return "%}";
    default:
      return "'" + token().text + "'";
  }
}

JinjaToken JinjaParser::take() {
  JinjaToken taken = token();
  if (at_ + 1 < tokens_.size()) ++at_;
  return taken;
}

bool JinjaParser::skip_sign(std::string_view sign) {
  if (!is_sign(sign)) return false;
  take();
  return true;
}

bool JinjaParser::skip_word(std::string_view word) {
  if (!is_word(word)) return false;
  take();
  return true;
}

void JinjaParser::need_sign(std::string_view sign) {
  if (!skip_sign(sign)) fail(fmt::format("expected '{}', got {}", sign, seen()));
}

void JinjaParser::need_word(std::string_view word) {
  if (!skip_word(word)) fail(fmt::format("expected '{}', got {}", word, seen()));
}

std::string JinjaParser::take_name() {
  if (!is(TokenKind::name)) fail("expected a name, got " + seen());
  return take().text;
}

void JinjaParser::end_tag() {
  if (!is(TokenKind::block_end)) fail("expected %}, got " + seen());
  take();
}

JinjaBlock JinjaParser::parse() {
  return parse_block({});
}

// Statements up to one of the tags `ends`, of which the name is the next token.
JinjaBlock JinjaParser::parse_block(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(*this);
  JinjaBlock block;
  while (!is(TokenKind::end)) {
    if (is(TokenKind::text)) {
      const JinjaToken text = take();
      block.push_back({StatementKind::text, text.line, text.text});
    } else if (is(TokenKind::variable_begin)) {
      block.push_back(parse_output());
    } else {
      take();  // {%
      if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return is_word(end); })) {
        return block;
      }
      block.push_back(parse_statement());
    }
  }
  if (ends.size() > 0) fail(fmt::format("expected {{% {} %}}", *(ends.end() - 1)));
  return block;
}

JinjaStatement JinjaParser::parse_output() {
  JinjaStatement statement{StatementKind::output, take().line};
  statement.value = parse_list_of_values(true);
  if (!is(TokenKind::variable_end)) fail("expected }}, got " + seen());
  take();
  return statement;
}

JinjaStatement JinjaParser::parse_statement() {
  JinjaStatement statement{StatementKind::scope, token().line};
  const std::string tag = take_name();
  if (tag == "if") return parse_branches(std::move(statement));
  if (tag == "for") return parse_loop(std::move(statement));
  if (tag == "set") return parse_set(std::move(statement));
  if (tag == "macro") return parse_macro(std::move(statement));
  if (tag == "call") return parse_call_block(std::move(statement));
  if (tag == "filter") return parse_filter_block(std::move(statement));
  if (tag == "with") return parse_with(std::move(statement));
  if (tag == "generation") {
    end_tag();
    statement.body = parse_block({"endgeneration"});
    take();
  } else if (tag == "break" || tag == "continue") {
    if (loops_ == 0) fail("'" + tag + "' stands outside of a loop");
    statement.kind = tag == "break" ? StatementKind::leave : StatementKind::next;
  } else if (std::find(kOfFiles.begin(), kOfFiles.end(), tag) != kOfFiles.end()) {
    fail("'" + tag + "' would read other files, which a template may not");
  } else {
    fail("there is no tag '" + tag + "'");
  }
  end_tag();
  return statement;
}

JinjaStatement JinjaParser::parse_branches(JinjaStatement statement) {
  statement.kind = StatementKind::branches;
  JinjaBranch branch{parse_list_of_values(false), {}};
  while (true) {
    end_tag();
    branch.body = branch.test ? parse_block({"elif", "else", "endif"}) : parse_block({"endif"});
    statement.branches.push_back(std::move(branch));
    const std::string tag = take_name();
    if (tag == "endif") break;
    branch = JinjaBranch{};
    if (tag == "elif") branch.test = parse_list_of_values(false);
  }
  end_tag();
  return statement;
}

JinjaStatement JinjaParser::parse_loop(JinjaStatement statement) {
  statement.kind = StatementKind::loop;
  statement.target = parse_target(false);
  need_word("in");
  statement.value = parse_list_of_values(false);
  if (skip_word("if")) statement.test = parse_expression();
  if (is_word("recursive")) fail("recursive loops are not supported");
  end_tag();
  ++loops_;
  statement.body = parse_block({"else", "endfor"});
  --loops_;
  if (skip_word("else")) {
    end_tag();
    statement.otherwise = parse_block({"endfor"});
  }
  need_word("endfor");
  end_tag();
  return statement;
}

JinjaTarget JinjaParser::parse_target(bool members) {
  JinjaTarget target;
  const bool bracket = skip_sign("(");
  target.names.push_back(take_name());
  if (members && skip_sign(".")) {
    target.member = take_name();
    return target;
  }
  while (skip_sign(",")) {
    target.unpacks = true;
    if (!is(TokenKind::name) || is_word("in")) break;
    target.names.push_back(take_name());
  }
  if (bracket) need_sign(")");
  return target;
}

JinjaStatement JinjaParser::parse_set(JinjaStatement statement) {
  statement.target = parse_target(true);
  if (skip_sign("=")) {
    statement.kind = StatementKind::set;
    statement.value = parse_list_of_values(true);
  } else {
    statement.kind = StatementKind::set_block;
    while (skip_sign("|")) statement.value = parse_filter(std::move(statement.value));
    end_tag();
    statement.body = parse_block({"endset"});
    take();
  }
  end_tag();
  return statement;
}

// (name, name=default, …)
std::vector<JinjaParameter> JinjaParser::parse_parameters() {
  std::vector<JinjaParameter> parameters;
  need_sign("(");
  while (!skip_sign(")")) {
    if (!parameters.empty()) need_sign(",");
    JinjaParameter parameter{take_name(), nullptr};
    if (skip_sign("=")) {
      parameter.otherwise = parse_expression();
    } else if (!parameters.empty() && parameters.back().otherwise) {
      fail("a parameter without a default follows one with a default");
    }
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

JinjaStatement JinjaParser::parse_macro(JinjaStatement statement) {
  statement.kind = StatementKind::macro;
  statement.name = take_name();
  statement.parameters = parse_parameters();
  end_tag();
  std::set<std::string> outer;
  outer.swap(names_);
  const int loops = std::exchange(loops_, 0);
  statement.body = parse_block({"endmacro"});
  take();
  loops_ = loops;
  statement.takes_more = names_.contains("varargs");
  statement.takes_named = names_.contains("kwargs");
  names_.merge(outer);
  end_tag();
  return statement;
}

JinjaStatement JinjaParser::parse_call_block(JinjaStatement statement) {
  statement.kind = StatementKind::call_block;
  if (is_sign("(")) statement.parameters = parse_parameters();
  statement.value = parse_expression();
  if (statement.value->kind != Kind::call) fail("expected the call of a macro");
  end_tag();
  const int loops = std::exchange(loops_, 0);
  statement.body = parse_block({"endcall"});
  loops_ = loops;
  take();
  end_tag();
  return statement;
}

JinjaStatement JinjaParser::parse_filter_block(JinjaStatement statement) {
  statement.kind = StatementKind::filter;
  statement.value = parse_filter(nullptr);
  while (skip_sign("|")) statement.value = parse_filter(std::move(statement.value));
  end_tag();
  statement.body = parse_block({"endfilter"});
  take();
  end_tag();
  return statement;
}

JinjaStatement JinjaParser::parse_with(JinjaStatement statement) {
  while (!is(TokenKind::block_end)) {
    if (!statement.assignments.empty()) need_sign(",");
    JinjaTarget target;
    target.names.push_back(take_name());
    need_sign("=");
    statement.assignments.emplace_back(std::move(target), parse_expression());
  }
  end_tag();
  statement.body = parse_block({"endwith"});
  take();
  end_tag();
  return statement;
}

JinjaBlock parse_jinja(const std::string& source, const std::string& where) {
  return JinjaParser(read_jinja_tokens(source, where), where).parse();
}

}  // namespace blip2
