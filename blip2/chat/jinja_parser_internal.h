#pragma once

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/chat/jinja_lexer_internal.h"
#include "blip2/chat/jinja_syntax_internal.h"

namespace blip2 {

// Parses tokens by Jinja's grammar. Statements are in jinja_parser.cpp, expressions in
// jinja_expressions.cpp. For one thread.
class JinjaParser {
 public:
  // `where` names the template in messages.
  JinjaParser(std::vector<JinjaToken> tokens, std::string where)
      : tokens_(std::move(tokens)), where_(std::move(where)) {}

  JinjaBlock parse();

 private:
  using Kind = JinjaExpression::Kind;
  static constexpr int kDepth = 200;  // of nested parts; those of published templates nest to 20

  // Counts how deep the parser is in, while it lives.
  class Nesting {
   public:
    explicit Nesting(JinjaParser& parser) : parser_(parser) {
      if (parser.nesting_ >= kDepth) parser.fail("the parts are nested too deeply");
      ++parser.nesting_;
    }
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    JinjaParser& parser_;
  };

  // Statements.
  JinjaBlock parse_block(std::initializer_list<std::string_view> ends);
  void end_tag();
  JinjaStatement parse_output();
  JinjaStatement parse_statement();
  JinjaStatement parse_branches(JinjaStatement statement);
  JinjaStatement parse_loop(JinjaStatement statement);
  JinjaStatement parse_set(JinjaStatement statement);
  JinjaStatement parse_macro(JinjaStatement statement);
  JinjaStatement parse_call_block(JinjaStatement statement);
  JinjaStatement parse_filter_block(JinjaStatement statement);
  JinjaStatement parse_with(JinjaStatement statement);
  std::vector<JinjaParameter> parse_parameters();
  JinjaTarget parse_target(bool members);

  // Expressions.
  JinjaExpressionPtr parse_expression();                     // with `… if … else …`
  JinjaExpressionPtr parse_list_of_values(bool conditions);  // a, b: a tuple
  JinjaExpressionPtr parse_either();
  JinjaExpressionPtr parse_both();
  JinjaExpressionPtr parse_not();
  JinjaExpressionPtr parse_compare();
  JinjaExpressionPtr parse_sum();
  JinjaExpressionPtr parse_joined();
  JinjaExpressionPtr parse_product();
  JinjaExpressionPtr parse_power();
  JinjaExpressionPtr parse_unary(bool filters);
  JinjaExpressionPtr parse_primary();
  JinjaExpressionPtr parse_name();
  JinjaExpressionPtr parse_bracketed();
  JinjaExpressionPtr parse_dict();
  JinjaExpressionPtr parse_postfix(JinjaExpressionPtr value);
  JinjaExpressionPtr parse_place(JinjaExpressionPtr value);
  JinjaExpressionPtr parse_filters(JinjaExpressionPtr value);
  JinjaExpressionPtr parse_filter(JinjaExpressionPtr value);
  JinjaExpressionPtr parse_test(JinjaExpressionPtr value);
  JinjaExpressionPtr add_arguments(JinjaExpressionPtr to);
  JinjaExpressionPtr parse_binary(JinjaExpressionPtr (JinjaParser::*next)(),
                                  std::initializer_list<std::string_view> signs);
  JinjaExpressionPtr make(Kind kind, int line, std::vector<JinjaExpressionPtr> parts = {},
                          std::string name = {});

  // Tokens.
  const JinjaToken& token() const { return tokens_[at_]; }
  const JinjaToken& behind() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is(JinjaToken::Kind kind) const { return token().kind == kind; }
  bool is_sign(std::string_view sign) const {
    return is(JinjaToken::Kind::sign) && token().text == sign;
  }
  bool is_word(std::string_view word) const {
    return is(JinjaToken::Kind::name) && token().text == word;
  }
  bool skip_sign(std::string_view sign);
  bool skip_word(std::string_view word);
  void need_sign(std::string_view sign);
  void need_word(std::string_view word);
  std::string take_name();
  JinjaToken take();
  [[noreturn]] void fail(const std::string& message) const;
  std::string seen() const;  // the current token, for messages

  std::vector<JinjaToken> tokens_;
  std::size_t at_ = 0;
  std::string where_;
  int nesting_ = 0, loops_ = 0;
  std::set<std::string> names_;  // read since the current macro began
};

}  // namespace blip2
