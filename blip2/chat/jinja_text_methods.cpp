#include <algorithm>

#include "blip2/chat/jinja_call_internal.h"
#include "blip2/chat/jinja_case_internal.h"

namespace blip2 {
namespace {

using Method = JinjaValue (*)(JinjaHeap&, const JinjaText&, const JinjaArguments&);

JinjaValue list_of(JinjaHeap& heap, std::vector<JinjaText> texts, JinjaList::Kind kind) {
  std::vector<JinjaValue> items;
  for (JinjaText& text : texts) items.push_back(heap.text(std::move(text)));
  return heap.list(std::move(items), kind);
}

JinjaValue strip(JinjaHeap& heap, const JinjaText& text, const JinjaArguments& arguments,
                 StripEnds ends) {
  const JinjaText* characters = JinjaBound("strip", arguments, {"chars"}).find_text(0);
  return heap.text(stripped(text, characters ? &characters->bytes() : nullptr, ends));
}

JinjaValue split(JinjaHeap& heap, const JinjaText& text, const JinjaArguments& arguments,
                 bool from_right) {
  const JinjaBound bound("split", arguments, {"sep", "maxsplit"});
  const JinjaText* separator = bound.find_text(0);
  if (separator && separator->empty()) jinja_fault("split() needs a separator that is not empty");
  return list_of(
      heap,
      split_text(text, separator ? &separator->bytes() : nullptr, bound.whole(1, -1), from_right),
      JinjaList::Kind::list);
}

JinjaValue partition(JinjaHeap& heap, const JinjaText& text, const JinjaArguments& arguments,
                     bool from_right) {
  const JinjaText& separator = JinjaBound("partition", arguments, {"sep"}).need_text(0);
  if (separator.empty()) jinja_fault("partition() needs a separator that is not empty");
  const std::size_t found =
      from_right ? text.bytes().rfind(separator.bytes()) : text.bytes().find(separator.bytes());
  std::vector<JinjaText> parts(3);
  if (found == std::string::npos) {
    parts[from_right ? 2 : 0] = text;
  } else {
    parts = {text.part(0, found), separator, text.part(found + separator.size(), text.size())};
  }
  return list_of(heap, std::move(parts), JinjaList::Kind::tuple);
}

// The bytes of text[start:stop], which find() and its kin look at; nullopt if start lies behind.
struct Window {
  std::size_t begin, end;
};
std::optional<Window> window_of(const JinjaText& text, const JinjaBound& bound) {
  const auto length = static_cast<std::int64_t>(count_characters(text.bytes()));
  const auto place = [&](std::size_t parameter, std::int64_t fallback) {
    const std::int64_t at = bound.whole(parameter, fallback);
    return std::max<std::int64_t>(0, at < 0 ? at + length : at);
  };
  const std::int64_t start = place(1, 0), stop = std::min(place(2, length), length);
  if (start > stop) return std::nullopt;
  return Window{byte_of_character(text.bytes(), static_cast<std::size_t>(start)),
                byte_of_character(text.bytes(), static_cast<std::size_t>(stop))};
}

// The character at which `sub` begins; -1 if it is not there.
std::int64_t find(const JinjaText& text, const JinjaArguments& arguments, bool last) {
  const JinjaBound bound("find", arguments, {"sub", "start", "end"});
  const std::string& part = bound.need_text(0).bytes();
  const auto window = window_of(text, bound);
  if (!window) return -1;
  const std::string_view seen =
      std::string_view(text.bytes()).substr(window->begin, window->end - window->begin);
  const std::size_t found = last ? seen.rfind(part) : seen.find(part);
  if (found == seen.npos) return -1;
  const auto before = std::string_view(text.bytes()).substr(0, window->begin + found);
  return static_cast<std::int64_t>(count_characters(before));
}

JinjaValue index(const JinjaText& text, const JinjaArguments& arguments, bool last) {
  const std::int64_t found = find(text, arguments, last);
  if (found < 0) jinja_fault("index() did not find the string");
  return found;
}

JinjaValue count(JinjaHeap&, const JinjaText& text, const JinjaArguments& arguments) {
  const JinjaBound bound("count", arguments, {"sub", "start", "end"});
  const std::string& part = bound.need_text(0).bytes();
  const auto window = window_of(text, bound);
  if (!window) return std::int64_t{0};
  const std::string_view seen =
      std::string_view(text.bytes()).substr(window->begin, window->end - window->begin);
  if (part.empty()) return static_cast<std::int64_t>(count_characters(seen)) + 1;
  std::int64_t times = 0;
  for (std::size_t at = 0; (at = seen.find(part, at)) != seen.npos; at += part.size()) ++times;
  return times;
}

// startswith and endswith: one string or a tuple of several.
JinjaValue borders(const JinjaText& text, const JinjaArguments& arguments, bool end) {
  const JinjaBound bound(end ? "endswith" : "startswith", arguments, {"what", "start", "end"});
  const auto window = window_of(text, bound);
  const std::string_view seen =
      window ? std::string_view(text.bytes()).substr(window->begin, window->end - window->begin)
             : std::string_view();
  const auto fits = [&](const JinjaValue& value) {
    const JinjaText* part = text_in(value);
    if (!part) jinja_fault("startswith() and endswith() need a string or a tuple of strings");
    return window && (end ? seen.ends_with(part->bytes()) : seen.starts_with(part->bytes()));
  };
  const JinjaList* several = as<JinjaList*>(bound.need(0));
  const bool tuple = several && several->kind == JinjaList::Kind::tuple;
  return tuple ? std::ranges::any_of(several->items, fits) : fits(bound.need(0));
}

JinjaValue replace(JinjaHeap& heap, const JinjaText& text, const JinjaArguments& arguments) {
  const JinjaBound bound("replace", arguments, {"old", "new", "count"});
  const JinjaText &from = bound.need_text(0), &to = bound.need_text(1);
  heap.take((text.size() / std::max<std::size_t>(from.size(), 1) + 1) * to.size());
  return heap.text(replaced(text, from.bytes(), to, bound.whole(2, -1)));
}

JinjaValue join(JinjaHeap& heap, const JinjaText& text, const JinjaArguments& arguments) {
  JinjaText out;
  bool first = true;
  for (const JinjaValue& item :
       iterate(heap, JinjaBound("join", arguments, {"items"}).need(0))->items) {
    const JinjaText* part = text_in(item);
    if (!part) jinja_fault("join() needs strings, got a value of type " + type_name(item));
    heap.take(text.size() + part->size());
    if (!first) out.append(text);
    out.append(*part);
    first = false;
  }
  return heap.text(std::move(out));
}

JinjaValue remove_end(JinjaHeap& heap, const JinjaText& text, const JinjaArguments& arguments,
                      bool prefix) {
  const std::string& part = JinjaBound("remove", arguments, {"part"}).need_text(0).bytes();
  if (prefix && text.bytes().starts_with(part)) {
    return heap.text(text.part(part.size(), text.size()));
  }
  const bool suffix = !prefix && text.bytes().ends_with(part);
  return heap.text(suffix ? text.part(0, text.size() - part.size()) : text);
}

// ljust, rjust and center.
JinjaValue justify(JinjaHeap& heap, const JinjaText& text, const JinjaArguments& arguments,
                   char side) {
  const JinjaBound bound("justify", arguments, {"width", "fillchar"});
  const std::int64_t width = bound.whole(0, 0);
  const JinjaText* given = bound.find_text(1);
  const std::string fill = given ? given->bytes() : " ";
  if (count_characters(fill) != 1) jinja_fault("the fill must be one character");
  const auto length = static_cast<std::int64_t>(count_characters(text.bytes()));
  const std::int64_t room = std::max<std::int64_t>(0, width - length);
  heap.take(static_cast<std::size_t>(room) * fill.size());
  const std::int64_t half = room / 2 + (room & width & 1);
  const std::int64_t left = side == 'r' ? room : side == 'l' ? 0 : half;
  JinjaText out;
  for (std::int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(text);
  for (std::int64_t i = left; i < room; ++i) out.append(fill);
  return heap.text(std::move(out));
}

// Whether there are characters and `holds` for all of them.
template <typename Holds>
JinjaValue all_are(const JinjaText& text, Holds holds) {
  bool all = !text.empty();
  text.each_character([&](char32_t c, std::size_t, std::size_t, bool) { all = all && holds(c); });
  return all;
}

// islower and isupper: cased letters, all of one case.
JinjaValue all_cased(const JinjaText& text, bool (*other)(char32_t)) {
  bool cased = false, wrong = false;
  text.each_character([&](char32_t c, std::size_t, std::size_t, bool) {
    cased = cased || is_cased_letter(c);
    wrong = wrong || other(c);
  });
  return cased && !wrong;
}

template <JinjaText (*change)(const JinjaText&)>
JinjaValue changed(JinjaHeap& heap, const JinjaText& text, const JinjaArguments&) {
  return heap.text(change(text));
}

using H = JinjaHeap&;
using T = const JinjaText&;
using A = const JinjaArguments&;

constexpr std::pair<std::string_view, Method> kTextMethods[] = {
    {"capitalize", changed<to_capitalized>},
    {"center", [](H h, T t, A a) { return justify(h, t, a, 'c'); }},
    {"count", count},
    {"endswith", [](H, T t, A a) { return borders(t, a, true); }},
    {"find", [](H, T t, A a) -> JinjaValue { return find(t, a, false); }},
    {"format", [](H h, T t, A a) { return h.text(format_braces(h, t, a)); }},
    {"index", [](H, T t, A a) { return index(t, a, false); }},
    {"isalnum",
     [](H, T t, A) { return all_are(t, [](char32_t c) { return is_letter(c) || is_number(c); }); }},
    {"isalpha", [](H, T t, A) { return all_are(t, is_letter); }},
    {"isdecimal", [](H, T t, A) { return all_are(t, is_digit_split); }},
    {"isdigit", [](H, T t, A) { return all_are(t, is_digit_split); }},
    {"islower",
     [](H, T t, A) {
       return all_cased(t, [](char32_t c) { return is_cased_letter(c) && !is_lower_letter(c); });
     }},
    {"isnumeric", [](H, T t, A) { return all_are(t, is_number); }},
    {"isspace", [](H, T t, A) { return all_are(t, is_python_space); }},
    {"isupper",
     [](H, T t, A) {
       return all_cased(t, [](char32_t c) { return is_cased_letter(c) && !is_upper_letter(c); });
     }},
    {"join", join},
    {"ljust", [](H h, T t, A a) { return justify(h, t, a, 'l'); }},
    {"lower", changed<to_lower_text>},
    {"lstrip", [](H h, T t, A a) { return strip(h, t, a, {.right = false}); }},
    {"partition", [](H h, T t, A a) { return partition(h, t, a, false); }},
    {"removeprefix", [](H h, T t, A a) { return remove_end(h, t, a, true); }},
    {"removesuffix", [](H h, T t, A a) { return remove_end(h, t, a, false); }},
    {"replace", replace},
    {"rfind", [](H, T t, A a) -> JinjaValue { return find(t, a, true); }},
    {"rindex", [](H, T t, A a) { return index(t, a, true); }},
    {"rjust", [](H h, T t, A a) { return justify(h, t, a, 'r'); }},
    {"rpartition", [](H h, T t, A a) { return partition(h, t, a, true); }},
    {"rsplit", [](H h, T t, A a) { return split(h, t, a, true); }},
    {"rstrip", [](H h, T t, A a) { return strip(h, t, a, {.left = false}); }},
    {"split", [](H h, T t, A a) { return split(h, t, a, false); }},
    {"splitlines",
     [](H h, T t, A a) {
       const bool ends = JinjaBound("splitlines", a, {"keepends"}).flag(0, false);
       return list_of(h, split_lines(t, ends), JinjaList::Kind::list);
     }},
    {"startswith", [](H, T t, A a) { return borders(t, a, false); }},
    {"strip", [](H h, T t, A a) { return strip(h, t, a, {}); }},
    {"title", changed<to_title>},
    {"upper", changed<to_upper_text>},
};

const std::pair<std::string_view, Method>* text_method(std::string_view name) {
  const auto found = std::ranges::find(kTextMethods, name, [](const auto& m) { return m.first; });
  return found == std::end(kTextMethods) ? nullptr : found;
}

// What a safe text escapes of the arguments: all of format(), the items of join(), and what
// replace() puts in.
JinjaArguments escaped_arguments(JinjaHeap& heap, const std::string& name, JinjaArguments given) {
  const auto escape = [&](JinjaValue& value) {
    if (const JinjaText* text = text_in(value)) value = heap.text(escaped(*text));
  };
  if (name == "format") {
    for (JinjaValue& value : given.positional) escape(value);
    for (auto& [parameter, value] : given.named) escape(value);
  } else if (name == "replace" && given.positional.size() > 1) {
    escape(given.positional[1]);
  } else if (name == "join" && !given.positional.empty()) {
    std::vector<JinjaValue> items = iterate(heap, given.positional[0])->items;
    for (JinjaValue& item : items) escape(item);
    given.positional[0] = heap.list(std::move(items));
  }
  return given;
}

// The result of a safe text's method is safe as well.
JinjaValue marked_safe(JinjaHeap& heap, const JinjaValue& value) {
  if (const JinjaText* text = text_in(value)) return heap.text(JinjaText(*text).mark_safe());
  const JinjaList* list = as<JinjaList*>(value);
  if (!list) return value;
  std::vector<JinjaValue> items;
  for (const JinjaValue& item : list->items) items.push_back(marked_safe(heap, item));
  return heap.list(std::move(items), list->kind);
}

}  // namespace

bool has_text_method(std::string_view name) {
  return text_method(name) != nullptr;
}

JinjaValue call_text_method(JinjaHeap& heap, const std::string& name, const JinjaText& text,
                            const JinjaArguments& arguments) {
  heap.take(text.size());
  for (const JinjaValue& value : arguments.positional) {
    if (const JinjaText* part = text_in(value)) heap.search(text.size(), part->size());
  }
  const Method method = text_method(name)->second;
  if (!text.is_safe()) return method(heap, text, arguments);
  return marked_safe(heap, method(heap, text, escaped_arguments(heap, name, arguments)));
}

}  // namespace blip2
