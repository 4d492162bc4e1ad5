#include "apps/blip2/output.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/io/utf8.h"

namespace blip2 {

void add_json_flag(CLI::App& verb, bool& json) {
  verb.add_flag("--json", json, "Print one JSON object a line");
}

void print_line(const std::string& line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() ||
      std::fputc('\n', stdout) == EOF) {
    throw Error("cannot write", "standard output");
  }
}

void print_row(std::initializer_list<std::string_view> fields) {
  std::string line;
  for (const std::string_view& field : fields) {
    if (&field != fields.begin()) line += '\t';
    line += one_line(field);
  }
  print_line(line);
}

void print_json(const nlohmann::ordered_json& object) {
  print_line(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  std::fflush(stdout);
}

}  // namespace blip2
