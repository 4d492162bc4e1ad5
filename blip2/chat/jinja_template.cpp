#include "blip2/chat/jinja_template_internal.h"

#include "blip2/base/error.h"
#include "blip2/chat/jinja_evaluator_internal.h"
#include "blip2/chat/jinja_lexer_internal.h"

namespace blip2 {

JinjaText run_jinja(const JinjaBlock& block, const std::string& where, const TemplateLimits& limits,
                    const std::tm& now,
                    const std::function<void(JinjaHeap&, JinjaScope&)>& add_variables) {
  JinjaHeap heap(limits);
  JinjaScope* globals = heap.scope(nullptr);
  add_variables(heap, *globals);
  JinjaEvaluator evaluator(heap, globals, now);
  try {
    return evaluator.run(block);
  } catch (const Error& error) {
    throw Error(error.message(), jinja_place(where, evaluator.line()));
  }
}

}  // namespace blip2
