#include <fmt/format.h>

#include <algorithm>

#include "blip2/chat/jinja_heap_internal.h"

namespace blip2 {

void JinjaHeap::step(std::size_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps) {
    jinja_fault(fmt::format("the template takes more than {} steps", limits_.steps));
  }
}

void JinjaHeap::take(std::size_t bytes) {
  bytes_ += std::min(bytes, limits_.bytes + 1);
  if (bytes_ > limits_.bytes) {
    jinja_fault(
        fmt::format("the template makes or searches values of more than {} bytes", limits_.bytes));
  }
}

JinjaHeap::Nesting::Nesting(JinjaHeap& heap) : heap_(heap) {
  if (++heap_.depth_ > heap_.limits_.depth) {
    --heap_.depth_;  // the destructor will not run
    jinja_fault(fmt::format("the template nests deeper than {}", heap_.limits_.depth));
  }
}

JinjaValue JinjaHeap::text(JinjaText text) {
  take(text.size() + text.typed().size() * sizeof(TextStretch) + sizeof(JinjaText));
  texts_.push_back(std::move(text));
  return &std::as_const(texts_.back());
}

JinjaValue JinjaHeap::undefined(std::string why) {
  take(why.size() + sizeof why);
  reasons_.push_back(std::move(why));
  return JinjaUndefined{&reasons_.back()};
}

JinjaValue JinjaHeap::list(std::vector<JinjaValue> items, JinjaList::Kind kind) {
  take(items.size() * sizeof(JinjaValue) + sizeof(JinjaList));
  lists_.push_back({kind, std::move(items)});
  return &lists_.back();
}

JinjaDict* JinjaHeap::dict() {
  take(sizeof(JinjaDict));
  return &dicts_.emplace_back();
}

JinjaValue JinjaHeap::space() {
  take(sizeof(JinjaNamespace));
  return &spaces_.emplace_back();
}

JinjaValue JinjaHeap::callable(JinjaCallable callable) {
  take(sizeof callable);
  callables_.push_back(std::move(callable));
  return &std::as_const(callables_.back());
}

JinjaLoop* JinjaHeap::loop(JinjaLoop loop) {
  take(sizeof loop);
  loop.seen = &seen_.emplace_back();
  return &loops_.emplace_back(loop);
}

JinjaScope* JinjaHeap::scope(JinjaScope* outer) {
  if (free_scopes_.empty()) {
    take(sizeof(JinjaScope) + 256);
    return &scopes_.emplace_back(outer);
  }
  JinjaScope* scope = free_scopes_.back();
  free_scopes_.pop_back();
  scope->begin_again(outer);
  return scope;
}

void JinjaHeap::leave(JinjaScope* scope) {
  if (!scope->kept()) free_scopes_.push_back(scope);
}

}  // namespace blip2
