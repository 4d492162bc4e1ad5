#pragma once

#include <ctime>
#include <functional>
#include <string>

#include "blip2/chat/jinja_heap_internal.h"
#include "blip2/chat/jinja_syntax_internal.h"

namespace blip2 {

// Runs a parsed template with the variables that `add_variables` puts into its outermost scope.
// Error that names `where` and the line.
JinjaText run_jinja(const JinjaBlock& block, const std::string& where, const TemplateLimits& limits,
                    const std::tm& now,
                    const std::function<void(JinjaHeap&, JinjaScope&)>& add_variables);

}  // namespace blip2
