#include <fmt/format.h>

#include <algorithm>

#include "blip2/chat/jinja_json_internal.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

void append_escaped(char32_t c, std::string& out) {
  if (c < 0x10000) {
    out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
    return;
  }
  const auto rest = static_cast<std::uint32_t>(c) - 0x10000;
  out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
}

std::string json_string(std::string_view text, bool ascii) {
  static constexpr std::string_view kNamed = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb";
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text.substr(at));
    const std::size_t named =
        c.value < 0x80 ? kNamed.find(static_cast<char>(c.value)) : kNamed.npos;
    if (named != kNamed.npos) {
      out += '\\';
      out += kNames[named];
    } else if (c.value < 0x20 || (ascii && c.value > 0x7E)) {
      append_escaped(c.value, out);
    } else {
      out += text.substr(at, c.bytes);
    }
    at += c.bytes;
  }
  return out + '"';
}

std::string json_number(double value) {
  const std::string text = float_repr(value);
  if (text == "nan") return "NaN";
  if (text == "inf") return "Infinity";
  return text == "-inf" ? "-Infinity" : text;
}

class JsonWriter {
 public:
  JsonWriter(JinjaHeap& heap, const JinjaJsonStyle& style) : heap_(heap), style_(style) {}

  JinjaText write(const JinjaValue& value) {
    append(value);
    return std::move(out_);
  }

 private:
  void append(const JinjaValue& value) {
    heap_.step();
    const JinjaHeap::Nesting nesting(heap_);
    if (out_.size() > heap_.limits().output) jinja_fault("tojson writes too long a text");
    if (const JinjaText* text = text_in(value)) {
      out_.append(json_string(text->bytes(), style_.ascii), !text->typed().empty());
    } else if (const JinjaDict* dict = as<JinjaDict*>(value)) {
      append_object(*dict);
    } else if (const JinjaList* list = as<JinjaList*>(value);
               list &&
               (list->kind == JinjaList::Kind::list || list->kind == JinjaList::Kind::tuple)) {
      append_array(*list);
    } else {
      out_.append(scalar(value));
    }
  }

  static std::string scalar(const JinjaValue& value) {
    if (is_none(value)) return "null";
    if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
    if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
    if (const auto* real = std::get_if<double>(&value)) return json_number(*real);
    jinja_fault("tojson cannot write a value of type " + type_name(value));
  }

  void append_array(const JinjaList& list) {
    if (list.items.empty()) return void(out_.append("[]"));
    open("[");
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      separate(i > 0);
      append(list.items[i]);
    }
    close("]");
  }

  void append_object(const JinjaDict& dict) {
    if (dict.entries.empty()) return void(out_.append("{}"));
    std::vector<std::pair<JinjaValue, JinjaValue>> entries = dict.entries;
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
        return order(heap_, a.first, b.first) < 0;
      });
    }
    open("{");
    for (std::size_t i = 0; i < entries.size(); ++i) {
      separate(i > 0);
      append_key(entries[i].first);
      out_.append(style_.key_separator);
      append(entries[i].second);
    }
    close("}");
  }

  void append_key(const JinjaValue& key) {
    if (text_in(key)) return append(key);
    out_.append(json_string(scalar(key), style_.ascii));
  }

  void open(std::string_view bracket) {
    out_.append(bracket);
    ++level_;
  }
  void separate(bool behind_another) {
    if (behind_another) out_.append(style_.item_separator);
    new_line();
  }
  void close(std::string_view bracket) {
    --level_;
    new_line();
    out_.append(bracket);
  }
  void new_line() {
    if (!style_.indent) return;
    out_.append("\n");
    for (int i = 0; i < level_; ++i) out_.append(*style_.indent);
  }

  JinjaHeap& heap_;
  const JinjaJsonStyle& style_;
  JinjaText out_;
  int level_ = 0;
};

}  // namespace

JinjaText to_json_text(JinjaHeap& heap, const JinjaValue& value, const JinjaJsonStyle& style) {
  return JsonWriter(heap, style).write(value);
}

}  // namespace blip2
