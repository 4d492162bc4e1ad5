#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace blip2 {

// One element of a JSON array, or one member of a JSON object, as text that is not parsed yet.
struct JsonElement {
  std::string key;           // the key of an object's member
  std::string_view text;     // without spaces around it
  std::uint64_t offset = 0;  // of `text`, from the beginning of the file
  std::size_t number = 0;    // the element's number, from 1
};

// Reads a long JSON array or object element by element: lists of gigabytes need no more memory than
// one element, and a broken element leaves the others readable.
class JsonElements {
 public:
  // `base` is added to offsets. Throws Error naming `where` if the text is neither array nor
  // object.
  JsonElements(std::string_view text, std::string where, std::uint64_t base = 0);

  bool is_object() const { return is_object_; }
  // The next element; nullopt after the last. Throws Error where the list's own form is broken or
  // the text ends within the list; elements given before stay valid.
  std::optional<JsonElement> next();
  // After an error: the element in which it lies, with all the text that is left.
  const std::optional<JsonElement>& broken() const { return broken_; }

 private:
  void skip_space();
  void skip_string();
  void skip_value();
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  [[noreturn]] void fail(const std::string& expected) const;

  std::string_view text_;
  std::string where_;
  std::uint64_t base_;
  std::size_t at_ = 0, count_ = 0;
  bool is_object_ = false, done_ = false;
  std::optional<JsonElement> broken_;
};

}  // namespace blip2
