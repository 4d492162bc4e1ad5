#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip2/chat/jinja_value_internal.h"
#include "blip2/chat/template_limits.h"

namespace blip2 {

// Names and values; a name is looked up in the outer scopes too, and set in this one.
class JinjaScope {
 public:
  explicit JinjaScope(JinjaScope* outer) : outer_(outer) {}
  // Counts names that are looked at as work.
  const JinjaValue* find(JinjaHeap& heap, std::string_view name) const;
  void set(JinjaHeap& heap, const std::string& name, const JinjaValue& value);

  // A macro that was defined here needs this scope and those around it for longer.
  void keep();
  bool kept() const { return kept_; }
  void begin_again(JinjaScope* outer);

 private:
  JinjaScope* outer_;
  bool kept_ = false;
  std::vector<std::pair<std::string, JinjaValue>> names_;
};

// The memory and the limits of one run of a template: everything is freed with it. For one thread.
class JinjaHeap {
 public:
  explicit JinjaHeap(const TemplateLimits& limits) : limits_(limits) {}
  JinjaHeap(const JinjaHeap&) = delete;
  JinjaHeap& operator=(const JinjaHeap&) = delete;

  // Counts work; Error when a limit is passed.
  void step(std::size_t steps = 1);
  void take(std::size_t bytes);
  // A search for `part` bytes within `whole`.
  void search(std::size_t whole, std::size_t part) { take(whole * (part + 1) / 64); }
  void scan(std::size_t names) { step(names / 16); }

  // Counts how deep calls are nested, while it lives.
  class Nesting {
   public:
    explicit Nesting(JinjaHeap& heap);
    ~Nesting() { --heap_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    JinjaHeap& heap_;
  };

  JinjaValue text(JinjaText text);
  JinjaValue own(std::string text) { return this->text(JinjaText(std::move(text))); }
  JinjaValue undefined(std::string why);
  JinjaValue list(std::vector<JinjaValue> items, JinjaList::Kind kind = JinjaList::Kind::list);
  JinjaDict* dict();
  JinjaValue space();
  JinjaValue callable(JinjaCallable callable);
  JinjaLoop* loop(JinjaLoop loop);
  JinjaScope* scope(JinjaScope* outer);
  void leave(JinjaScope* scope);  // it may be given out again, unless it is kept
  // Sets an entry of a dict; Error for a key that Python cannot hash.
  void set(JinjaDict& dict, const JinjaValue& key, const JinjaValue& value);

  const TemplateLimits& limits() const { return limits_; }

 private:
  TemplateLimits limits_;
  std::size_t steps_ = 0, bytes_ = 0;
  int depth_ = 0;
  std::deque<JinjaText> texts_;
  std::deque<std::string> reasons_;
  std::deque<JinjaList> lists_;
  std::deque<JinjaDict> dicts_;
  std::deque<JinjaNamespace> spaces_;
  std::deque<JinjaCallable> callables_;
  std::deque<JinjaLoop> loops_;
  std::deque<std::vector<JinjaValue>> seen_;
  std::deque<JinjaScope> scopes_;
  std::vector<JinjaScope*> free_scopes_;
};

// Gives a place a new scope within `outer`, and the old one back when it is left.
class JinjaScopeGuard {
 public:
  JinjaScopeGuard(JinjaHeap& heap, JinjaScope*& place, JinjaScope* outer)
      : heap_(heap), place_(place), before_(std::exchange(place, heap.scope(outer))) {}
  ~JinjaScopeGuard() { heap_.leave(std::exchange(place_, before_)); }
  JinjaScopeGuard(const JinjaScopeGuard&) = delete;
  JinjaScopeGuard& operator=(const JinjaScopeGuard&) = delete;

 private:
  JinjaHeap& heap_;
  JinjaScope*& place_;
  JinjaScope* before_;
};

}  // namespace blip2
