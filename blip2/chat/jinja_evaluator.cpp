#include "blip2/chat/jinja_evaluator_internal.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace blip2 {
namespace {

constexpr auto kGlobals =
    std::to_array<const char*>({"dict", "namespace", "raise_exception", "range", "strftime_now"});

}  // namespace

JinjaEvaluator::JinjaEvaluator(JinjaHeap& heap, JinjaScope* globals, const std::tm& now)
    : heap_(heap), scope_(globals), now_(now) {
  for (const char* name : kGlobals) {
    if (!globals->find(heap, name)) {
      globals->set(heap, name, heap.callable({JinjaCallable::Kind::global, name}));
    }
  }
}

JinjaText JinjaEvaluator::run(const JinjaBlock& block) {
  return captured(block).first;
}

std::pair<JinjaText, JinjaEvaluator::Flow> JinjaEvaluator::captured(const JinjaBlock& block) {
  JinjaText text;
  JinjaText* before = std::exchange(out_, &text);  // an exception ends the whole run
  const Flow flow = execute(block);
  out_ = before;
  return {std::move(text), flow};
}

void JinjaEvaluator::write(const JinjaText& text) {
  heap_.take(text.size());
  out_->append(text);
  if (out_->size() > heap_.limits().output) {
    jinja_fault(fmt::format("the template writes more than {} bytes", heap_.limits().output));
  }
}

JinjaEvaluator::Flow JinjaEvaluator::execute(const JinjaBlock& block) {
  const JinjaHeap::Nesting nesting(heap_);
  for (const JinjaStatement& statement : block) {
    const Flow flow = execute(statement);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

JinjaEvaluator::Flow JinjaEvaluator::execute(const JinjaStatement& statement) {
  using Kind = JinjaStatement::Kind;
  heap_.step();
  line_ = statement.line;
  switch (statement.kind) {
    case Kind::text:
      write(JinjaText(statement.name));
      return Flow::on;
    case Kind::output:
      write(as_text(heap_, evaluate(*statement.value)));
      return Flow::on;
    case Kind::branches:
      return execute_branches(statement);
    case Kind::loop:
      return execute_loop(statement);
    case Kind::set:
      assign(statement.target, evaluate(*statement.value));
      return Flow::on;
    case Kind::set_block:
      return execute_set_block(statement);
    case Kind::macro:
      scope_->keep();
      scope_->set(heap_, statement.name,
                  heap_.callable({JinjaCallable::Kind::macro, statement.name, JinjaNone{},
                                  &statement, scope_}));
      return Flow::on;
    case Kind::call_block:
      execute_call_block(statement);
      return Flow::on;
    case Kind::filter:
      return execute_filter(statement);
    case Kind::scope:
      return execute_in_scope(statement);
    case Kind::leave:
      return Flow::leave;
    case Kind::next:
      return Flow::next;
  }
  return Flow::on;
}

JinjaEvaluator::Flow JinjaEvaluator::execute_branches(const JinjaStatement& statement) {
  for (const JinjaBranch& branch : statement.branches) {
    if (!branch.test || is_true(evaluate(*branch.test))) return execute(branch.body);
  }
  return Flow::on;
}

// The items that the loop's condition lets through.
std::vector<JinjaValue> JinjaEvaluator::loop_items(const JinjaStatement& statement) {
  const JinjaList* all = iterate(heap_, evaluate(*statement.value));
  heap_.take(all->items.size() * sizeof(JinjaValue));
  if (!statement.test) return all->items;
  std::vector<JinjaValue> kept;
  for (const JinjaValue& item : all->items) {
    const JinjaScopeGuard scope(heap_, scope_, scope_);
    assign(statement.target, item);
    if (is_true(evaluate(*statement.test))) kept.push_back(item);
  }
  return kept;
}

JinjaEvaluator::Flow JinjaEvaluator::execute_loop(const JinjaStatement& statement) {
  const JinjaValue items = heap_.list(loop_items(statement));
  const JinjaList& list = *as<JinjaList*>(items);
  if (list.items.empty()) {
    const JinjaScopeGuard scope(heap_, scope_, scope_);
    return execute(statement.otherwise);
  }
  JinjaLoop* loop = heap_.loop({&list, 0, 1, nullptr});
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    heap_.step();
    const JinjaScopeGuard scope(heap_, scope_, scope_);
    loop->index = i;
    scope_->set(heap_, "loop", static_cast<const JinjaLoop*>(loop));
    line_ = statement.line;
    assign(statement.target, list.items[i]);
    if (execute(statement.body) == Flow::leave) break;
  }
  return Flow::on;
}

JinjaEvaluator::Flow JinjaEvaluator::execute_in_scope(const JinjaStatement& statement) {
  std::vector<JinjaValue> values;
  for (const auto& [target, value] : statement.assignments) values.push_back(evaluate(*value));
  const JinjaScopeGuard scope(heap_, scope_, scope_);
  for (std::size_t i = 0; i < values.size(); ++i) assign(statement.assignments[i].first, values[i]);
  return execute(statement.body);
}

JinjaEvaluator::Flow JinjaEvaluator::execute_set_block(const JinjaStatement& statement) {
  JinjaValue value;
  Flow flow = Flow::on;
  {
    const JinjaScopeGuard scope(heap_, scope_, scope_);
    auto [text, end] = captured(statement.body);
    flow = end;
    value = heap_.text(std::move(text));
  }
  if (flow != Flow::on) return flow;
  line_ = statement.line;
  assign(statement.target, statement.value ? evaluate_filter(*statement.value, &value) : value);
  return Flow::on;
}

JinjaEvaluator::Flow JinjaEvaluator::execute_filter(const JinjaStatement& statement) {
  const JinjaScopeGuard scope(heap_, scope_, scope_);
  auto [text, flow] = captured(statement.body);
  const JinjaValue value = heap_.text(std::move(text));
  line_ = statement.line;
  write(as_text(heap_, evaluate_filter(*statement.value, &value)));
  return flow;
}

void JinjaEvaluator::execute_call_block(const JinjaStatement& statement) {
  const JinjaExpression& call_of = *statement.value;
  const JinjaValue callee = evaluate(*call_of.parts[0]);
  JinjaArguments arguments = evaluate_arguments(call_of.arguments);
  scope_->keep();
  arguments.named.emplace_back("caller", heap_.callable({JinjaCallable::Kind::macro, "caller",
                                                         JinjaNone{}, &statement, scope_}));
  write(as_text(heap_, call(callee, arguments)));
}

void JinjaEvaluator::assign(const JinjaTarget& target, const JinjaValue& value) {
  if (!target.member.empty()) return assign_member(target, value);
  if (!target.unpacks) return scope_->set(heap_, target.names[0], value);
  const JinjaList* items = iterate(heap_, value);
  if (items->items.size() != target.names.size()) {
    jinja_fault(fmt::format("expected {} values to unpack, got {}", target.names.size(),
                            items->items.size()));
  }
  for (std::size_t i = 0; i < target.names.size(); ++i)
    scope_->set(heap_, target.names[i], items->items[i]);
}

void JinjaEvaluator::assign_member(const JinjaTarget& target, const JinjaValue& value) {
  const JinjaValue* found = scope_->find(heap_, target.names[0]);
  JinjaNamespace* space = found ? as<JinjaNamespace*>(*found) : nullptr;
  if (!space) jinja_fault("'" + target.names[0] + "' is no namespace, so it cannot be changed");
  if (target.member.starts_with("_")) jinja_fault("a namespace has no members that begin with _");
  heap_.scan(space->members.size());
  for (auto& [name, member] : space->members) {
    if (name != target.member) continue;
    member = value;
    return;
  }
  heap_.take(sizeof(JinjaValue) * 4);
  space->members.emplace_back(target.member, value);
}

}  // namespace blip2
