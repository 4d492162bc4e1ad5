#pragma once

#include <optional>
#include <string>

#include "blip2/chat/jinja_heap_internal.h"

namespace blip2 {

// The options of Python's json.dumps.
struct JinjaJsonStyle {
  bool ascii = false, sort_keys = false;
  std::optional<std::string> indent;  // what a level is indented by; nullopt: all on one line
  std::string item_separator = ", ", key_separator = ": ";
};

// What json.dumps writes. Error for a value that JSON does not have.
JinjaText to_json_text(JinjaHeap& heap, const JinjaValue& value, const JinjaJsonStyle& style);

}  // namespace blip2
