#include "apps/blip2/result_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"

namespace blip2 {

ResultFile::ResultFile(std::string path, std::string id_key, std::string text_key)
    : path_(std::move(path)), id_key_(std::move(id_key)), text_key_(std::move(text_key)) {
  if (!path_.empty()) require_place(path_);
}

void ResultFile::expect(const std::string& id, const std::string& what) {
  if (path_.empty()) return;
  if (id.empty()) {
    throw Error(fmt::format("expected a {} of everything that is answered, got none", id_key_),
                what, "name a data file whose records have ids");
  }
  if (expected_.insert(id).second) return;
  throw Error(fmt::format("the {} {} is there twice", id_key_, id), what,
              "the server takes one text for each");
}

void ResultFile::add(const std::string& id, const std::string& text) {
  if (!path_.empty()) list_.push_back({{id_key_, id_value(id)}, {text_key_, text}});
}

void ResultFile::write() const {
  if (path_.empty()) return;
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  write_file(path_, list_.dump(-1, ' ', false, replace) + "\n");
}

nlohmann::ordered_json id_value(const std::string& id) {
  std::string text = id;
  for (const std::string_view reader : {"coco:", "vg:"}) {
    if (text.starts_with(reader)) text.erase(0, reader.size());
  }
  constexpr std::size_t kMostDigits = 18;  // of a number in 64 bits
  const bool number = !text.empty() && text.size() <= kMostDigits &&
                      (text.size() == 1 || text[0] != '0') &&
                      std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (number) return std::stoll(text);
  return text;
}

}  // namespace blip2
