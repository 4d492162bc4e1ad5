#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blip2 {

struct JinjaToken {
  enum class Kind {
    text,
    variable_begin,
    variable_end,
    block_begin,
    block_end,
    name,
    integer,
    real,
    string,
    sign,  // an operator or a bracket
    end,
  };
  Kind kind;
  int line;
  std::string text = {};  // as written; a string's value
  std::int64_t integer = 0;
  double real = 0;
};

// Cuts a template into tokens, the last of which is `end`. White space is controlled as Jinja does
// with trim_blocks and lstrip_blocks. Error with place and line for what cannot be read.
std::vector<JinjaToken> read_jinja_tokens(const std::string& source, const std::string& where);

// "file: line 3", which messages begin with.
std::string jinja_place(const std::string& where, int line);

}  // namespace blip2
