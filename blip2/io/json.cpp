#include "blip2/io/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

using nlohmann::json;

// nlohmann's own message without its tag, and without the token that it may quote at length.
std::string short_reason(const char* what) {
  std::string reason = what;
  if (const auto tag = reason.find("] "); tag != std::string::npos) reason.erase(0, tag + 2);
  if (reason.size() > 160) reason = reason.substr(0, 160) + "…";
  for (char& c : reason) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return reason;
}

// Builds the document from nlohmann's events and refuses what passes the limits.
class Builder {
 public:
  using number_integer_t = json::number_integer_t;
  using number_unsigned_t = json::number_unsigned_t;
  using number_float_t = json::number_float_t;
  using string_t = json::string_t;
  using binary_t = json::binary_t;

  Builder(const std::string& where, const JsonLimits& limits) : where_(where), limits_(limits) {}
  json take() { return std::move(root_); }

  bool null() { return put(nullptr) != nullptr; }
  bool boolean(bool value) { return put(value) != nullptr; }
  bool number_integer(number_integer_t value) { return put(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) { return put(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) { return put(value) != nullptr; }
  bool string(string_t& value) { return put(std::move(value)) != nullptr; }
  bool binary(binary_t&) { return false; }
  bool start_object(std::size_t) { return open(json::object()); }
  bool start_array(std::size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(string_t& name) {
    const auto [place, fresh] = open_.back()->get_ref<json::object_t&>().emplace(name, nullptr);
    if (!fresh) {
      throw Error(fmt::format("the key \"{}\" is there twice in one object", name.substr(0, 80)),
                  where_);
    }
    slot_ = &place->second;
    return true;
  }

  template <typename Exception>
  bool parse_error(std::size_t position, const std::string&, const Exception& error) {
    throw Error(fmt::format("not valid JSON at byte {}: {}", position, short_reason(error.what())),
                where_);
  }

 private:
  json* put(json value) {
    if (++values_ > limits_.values) {
      throw Error(fmt::format("expected at most {} JSON values", limits_.values), where_);
    }
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*slot_ = std::move(value));
    return &open_.back()->get_ref<json::array_t&>().emplace_back(std::move(value));
  }
  bool open(json value) {
    if (open_.size() >= limits_.depth) {
      throw Error(fmt::format("JSON nested deeper than {} levels", limits_.depth), where_);
    }
    open_.push_back(put(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& where_;
  const JsonLimits& limits_;
  json root_;
  std::vector<json*> open_;
  json* slot_ = nullptr;
  std::size_t values_ = 0;
};

// Whether a word outside of strings is a number that JSON has not.
bool is_python_number(const std::string& word) {
  if (word == "NaN" || word == "Infinity" || word == "-Infinity") return true;
  if (word.find_first_not_of("+-.0123456789eE") != word.npos || word[0] == '+') return false;
  char* end = nullptr;
  const bool is_beyond = std::isinf(std::strtod(word.c_str(), &end));
  return is_beyond && *end == '\0';
}

// The text with null for each such number; nothing if there is none.
std::optional<std::string> without_python_numbers(std::string_view text) {
  constexpr std::string_view kWord = "+-.0123456789eENaInfity";
  std::string plain;
  std::size_t copied = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) at += text[at] == '\\' ? 1 : 0;
      continue;
    }
    if (kWord.find(text[at]) == kWord.npos) continue;
    const std::size_t end = std::min(text.find_first_not_of(kWord, at), text.size());
    if (is_python_number(std::string(text.substr(at, end - at)))) {
      plain.append(text.substr(copied, at - copied)).append("null");
      copied = end;
    }
    at = end - 1;
  }
  if (copied == 0) return {};
  return plain.append(text.substr(copied));
}

json parse_strictly(std::string_view text, const std::string& where, const JsonLimits& limits) {
  Builder builder(where, limits);
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

}  // namespace

json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    throw Error(fmt::format("expected at most {} bytes of JSON, got {}", limits.bytes, text.size()),
                where);
  }
  if (!limits.python_numbers) return parse_strictly(text, where, limits);
  try {
    return parse_strictly(text, where, limits);
  } catch (const Error&) {
    const auto plain = without_python_numbers(text);
    if (!plain) throw;
    return parse_strictly(*plain, where, limits);
  }
}

json read_json(const std::filesystem::path& path, const JsonLimits& limits) {
  const std::string text = read_file(path, limits.bytes);
  return parse_json(without_byte_order_mark(text, path.string()), path.string(), limits);
}

}  // namespace blip2
