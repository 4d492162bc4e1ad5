#pragma once

#include <ctime>
#include <string>

#include "blip2/chat/jinja_call_internal.h"
#include "blip2/chat/jinja_syntax_internal.h"

namespace blip2 {

// Runs a template once. Statements are in jinja_evaluator.cpp, expressions in
// jinja_evaluation.cpp. For one thread.
class JinjaEvaluator {
 public:
  // `globals` has the template's variables; `now`: the time of strftime_now, in local time.
  JinjaEvaluator(JinjaHeap& heap, JinjaScope* globals, const std::tm& now);

  // Error without a place for what goes wrong; line() then says where.
  JinjaText run(const JinjaBlock& block);
  int line() const { return line_; }

 private:
  enum class Flow { on, leave, next };  // on, or out of the loop, or to its next item

  Flow execute(const JinjaBlock& block);
  Flow execute(const JinjaStatement& statement);
  Flow execute_branches(const JinjaStatement& statement);
  Flow execute_loop(const JinjaStatement& statement);
  Flow execute_in_scope(const JinjaStatement& statement);
  Flow execute_set_block(const JinjaStatement& statement);
  Flow execute_filter(const JinjaStatement& statement);
  void execute_call_block(const JinjaStatement& statement);
  std::vector<JinjaValue> loop_items(const JinjaStatement& statement);
  void write(const JinjaText& text);
  // What the block writes, and how it ends.
  std::pair<JinjaText, Flow> captured(const JinjaBlock& block);
  void assign(const JinjaTarget& target, const JinjaValue& value);
  void assign_member(const JinjaTarget& target, const JinjaValue& value);

  JinjaValue evaluate(const JinjaExpression& expression);
  JinjaValue evaluate_kind(const JinjaExpression& expression);
  JinjaValue evaluate_choice(const JinjaExpression& expression);
  JinjaValue evaluate_access(const JinjaExpression& expression);
  JinjaValue constant(const JinjaExpression& expression);
  JinjaValue look_up(const std::string& name);
  std::vector<JinjaValue> evaluate_all(const std::vector<JinjaExpressionPtr>& parts);
  JinjaValue evaluate_dict(const JinjaExpression& expression);
  JinjaValue evaluate_slice(const JinjaExpression& expression);
  JinjaValue evaluate_compare(const JinjaExpression& expression);
  JinjaValue evaluate_sign(const JinjaExpression& expression);
  // `filtered`: the subject of a filter block's innermost filter, which has no expression.
  JinjaValue evaluate_filter(const JinjaExpression& expression, const JinjaValue* filtered);
  JinjaArguments evaluate_arguments(const JinjaArgumentList& list);
  JinjaValue call(const JinjaValue& callee, const JinjaArguments& arguments);
  JinjaValue call_global(const std::string& name, const JinjaArguments& arguments);
  JinjaValue call_macro(const JinjaCallable& macro, const JinjaArguments& arguments);
  void bind(const JinjaStatement& macro, JinjaArguments arguments);
  JinjaValue make_range(const JinjaArguments& arguments);
  JinjaValue make_dict(const JinjaArguments& arguments);
  JinjaValue make_namespace(const JinjaArguments& arguments);
  JinjaValue format_time(const JinjaArguments& arguments);

  JinjaHeap& heap_;
  JinjaScope* scope_;
  const std::tm now_;
  JinjaText* out_ = nullptr;
  int line_ = 1;
};

}  // namespace blip2
