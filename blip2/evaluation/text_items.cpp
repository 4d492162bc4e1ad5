#include "blip2/evaluation/text_items.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/json.h"
#include "blip2/io/json_elements.h"
#include "blip2/io/members.h"
#include "blip2/io/plain_object.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr JsonLimits kEntryLimits{.depth = 16, .bytes = 1u << 20, .values = 100'000};

[[noreturn]] void refuse_entry(const std::string& what) {
  throw Error(what);
}

// A whole number or a text, as text; empty if no key is there.
std::string id_value(const json& object, std::initializer_list<const char*> keys) {
  const json* value = find_member(object, keys);
  if (value == nullptr) return {};
  const std::string number = whole_number(*value);
  return number.empty() ? text_value(*value, *keys.begin()) : number;
}

std::string optional_text(const json& object, std::initializer_list<const char*> keys) {
  const json* value = find_member(object, keys);
  return value == nullptr ? std::string() : text_value(*value, *keys.begin());
}

// A text, a list of texts, or a list of objects with the text under `inner`.
std::vector<std::string> texts_in(const json& object, std::initializer_list<const char*> keys,
                                  const char* inner) {
  const json* value = find_member(object, keys);
  if (value == nullptr) {
    refuse_entry(fmt::format("expected a key \"{}\", got {}", *keys.begin(), shown(object)));
  }
  if (!value->is_array()) return {text_value(*value, *keys.begin())};
  std::vector<std::string> texts;
  for (const json& item : *value) {
    const json* text = item.is_object() ? find_member(item, {inner}) : &item;
    if (text == nullptr) refuse_entry(fmt::format("expected a key \"{}\" in the list", inner));
    texts.push_back(text_value(*text, inner));
  }
  if (texts.empty()) refuse_entry(fmt::format("\"{}\" is an empty list", *keys.begin()));
  return texts;
}

// Items by their first name, so that a picture's captions come together.
class ItemList {
 public:
  // The item of these names, new if there is none.
  TextItem& of(std::vector<std::string> names, std::size_t entry) {
    if (names.empty()) refuse_entry("expected \"image_id\", \"question_id\" or \"image\"");
    const auto [place, fresh] = places_.try_emplace(names[0], items_.size());
    if (fresh) items_.push_back({std::move(names), {}, {}, entry, {}, {}});
    return items_[place->second];
  }
  // The same of an item with one name.
  TextItem& of(const std::string& name, std::size_t entry) {
    const auto found = places_.find(name);
    return found != places_.end() ? items_[found->second] : of(std::vector{name}, entry);
  }
  std::size_t size() const { return items_.size(); }
  std::vector<TextItem> take() {
    std::erase_if(items_, [](const TextItem& item) { return item.texts.empty(); });
    return std::move(items_);
  }

 private:
  std::vector<TextItem> items_;
  std::unordered_map<std::string, std::size_t> places_;
};

class ItemReader {
 public:
  ItemReader(const std::filesystem::path& path, TextTask task, const std::string& split)
      : path_(path), task_(task), split_(split), file_(MappedFile::open(path)) {}

  std::vector<TextItem> read() {
    std::string_view text(reinterpret_cast<const char*>(file_->bytes().data()),
                          file_->bytes().size());
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    if (first == text.npos) throw Error("is empty", path_.string());
    if (text[first] == '[') {
      each_element(text, [&](std::string_view entry, std::size_t n) { add_entry(entry, n); });
    } else if (!read_object(text)) {
      each_line(text);
    }
    auto items = items_.take();
    if (items.empty()) throw Error("holds no captions or answers", path_.string());
    check_splits();
    return items;
  }

 private:
  // Calls take with each element of a list; its errors get their place.
  template <typename Take>
  void each_element(std::string_view list, const Take& take) {
    JsonElements elements(list, path_.string());
    while (const auto element = elements.next()) {
      at_entry("entry", element->number, [&] { take(element->text, element->number); });
    }
  }

  template <typename Work>
  void at_entry(const char* unit, const auto& number, const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      throw error.within(fmt::format("{}: {} {}", path_.string(), unit, number));
    }
  }

  void each_line(std::string_view text) {
    for (std::size_t number = 1; !text.empty(); ++number) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      const std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (line.find_first_not_of(" \t\r") == line.npos) continue;
      at_entry("line", number, [&] { add_entry(line, number); });
    }
  }

  // Reads a file that is one object of lists; false if it is not.
  bool read_object(std::string_view text) {
    std::map<std::string, JsonElement> members;
    try {
      JsonElements elements(text, path_.string());
      while (auto element = elements.next()) members.emplace(element->key, *element);
    } catch (const Error&) {
      return false;  // several objects, a line each
    }
    const auto images = members.find("images"), annotations = members.find("annotations");
    const bool listed = images != members.end() && images->second.text.starts_with('[');
    if (task_ == TextTask::vqa && is_gqa(members)) {
      for (const auto& member : members) {
        at_entry("question", member.first,
                 [&] { add_gqa(member.first, parse_json(member.second.text, {}, kEntryLimits)); });
      }
      return true;
    }
    if (annotations == members.end() || !annotations->second.text.starts_with('[')) {
      if (!listed) return false;
      each_element(images->second.text, [&](std::string_view e, std::size_t n) {
        add_karpathy(parse_json(e, {}, kEntryLimits), n);
      });
      return true;
    }
    if (listed && task_ == TextTask::caption) {
      each_element(images->second.text, [&](std::string_view e, std::size_t n) {
        add_image(parse_json(e, {}, kEntryLimits), n);
      });
    }
    each_element(annotations->second.text,
                 [&](std::string_view e, std::size_t n) { add_entry(e, n); });
    return true;
  }

  static bool is_gqa(const std::map<std::string, JsonElement>& members) {
    return !members.empty() && std::all_of(members.begin(), members.end(), [](const auto& member) {
      return member.second.text.starts_with('{') &&
             member.second.text.find("\"imageId\"") != std::string_view::npos;
    });
  }

  void add_gqa(const std::string& id, const json& entry) {
    const std::string image = id_value(entry, {"imageId"});
    TextItem& item = items_.of(names_of_item(id, {}, {}), items_.size() + 1);
    item.texts = texts_in(entry, {"answer"}, "answer");
    item.kinds = question_kinds(entry);
    item.question = optional_text(entry, {"question"});
    item.image = image + ".jpg";
  }

  void need_object(const json& entry) const {
    if (!entry.is_object()) refuse_entry(fmt::format("expected an object, got {}", entry.dump()));
  }

  // A picture of COCO's list, whose captions come later.
  void add_image(const json& entry, std::size_t number) {
    need_object(entry);
    const std::string image = optional_text(entry, {"file_name"});
    TextItem& item = items_.of(names_of_item(id_value(entry, {"id"}), image, {}), number);
    item.image = image;
    item.kinds.merge(picture_kinds(entry));
  }

  void add_karpathy(const json& entry, std::size_t number) {
    need_object(entry);
    const std::string split = optional_text(entry, {"split"});
    splits_.insert(split);
    if (!split_.empty() && split != split_) return;
    const std::string image = optional_text(entry, {"filename"});
    TextItem& item = items_.of(names_of_item(id_value(entry, {"cocoid"}), image, {}), number);
    const std::string folder = optional_text(entry, {"filepath"});
    item.image = folder.empty() ? image : folder + "/" + image;
    item.texts = texts_in(entry, {"sentences"}, "raw");
  }

  void add_entry(std::string_view entry, std::size_t number) {
    if (!add_plain(entry, number)) add(parse_json(entry, {}, kEntryLimits), number);
  }

  // Takes an entry of an identifier and one text, as most are, without parsing it in full; false
  // if it is another.
  bool add_plain(std::string_view entry, std::size_t number) {
    const bool vqa = task_ == TextTask::vqa;
    if (!read_plain_object(entry, members_)) return false;
    std::string name = "identifier ";
    const PlainMember* text = nullptr;
    for (const PlainMember& member : members_) {
      if (member.key == (vqa ? "question_id" : "image_id")) {
        name += member.value;
      } else if (member.key == (vqa ? "answer" : "caption") && member.is_text) {
        text = &member;
      } else if (vqa || member.key != "id") {
        return false;
      }
    }
    if (text == nullptr || name.back() == ' ') return false;
    TextItem& item = items_.of(name, number);
    if (vqa && !item.texts.empty()) refuse_entry("the question has answers already");
    item.texts.emplace_back(text->value);
    return true;
  }

  void add(const json& entry, std::size_t number) {
    need_object(entry);
    if (entry.contains("error"))
      return;  // this program's line for a picture that it could not read
    const std::string image = optional_text(entry, {"image", "file_name"});
    if (task_ == TextTask::caption) {
      TextItem& item = items_.of(names_of_item(id_value(entry, {"image_id"}), image, {}), number);
      const auto texts = texts_in(entry, {"caption", "captions", "text"}, "caption");
      item.texts.insert(item.texts.end(), texts.begin(), texts.end());
      if (!image.empty()) item.image = image;
      return item.kinds.merge(picture_kinds(entry));
    }
    const std::string asked = optional_text(entry, {"question"});
    auto names = names_of_item(id_value(entry, {"question_id", "questionId"}), image, asked);
    const std::string picture = id_value(entry, {"image_id"});
    if (!picture.empty() && !asked.empty()) names.push_back("picture " + picture + "\n" + asked);
    TextItem& item = items_.of(std::move(names), number);
    if (!item.texts.empty()) refuse_entry("the question has answers already");
    item.texts = texts_in(entry, {"answers", "answer", "prediction"}, "answer");
    item.kinds = question_kinds(entry);
    item.image = image;
    item.question = asked;
  }

  void check_splits() const {
    if (!split_.empty() || splits_.size() < 2) return;
    throw Error(fmt::format("expected one split, got {}", splits_.size()), path_.string(),
                "choose with ?split=test or the like");
  }

  std::filesystem::path path_;
  TextTask task_;
  std::string split_;
  std::shared_ptr<const MappedFile> file_;
  ItemList items_;
  std::vector<PlainMember> members_;  // of the entry at hand
  std::set<std::string> splits_;
};

using Places = std::unordered_map<std::string, std::size_t>;

// The references by each of their names; a name of several leads to none.
Places places_of(const std::vector<TextItem>& references) {
  constexpr std::size_t kSeveral = ~std::size_t{0};
  Places places;
  for (std::size_t i = 0; i < references.size(); ++i) {
    for (const std::string& name : references[i].names) {
      const auto [place, fresh] = places.try_emplace(name, i);
      if (!fresh && place->second != i) place->second = kSeveral;
    }
  }
  std::erase_if(places, [](const auto& entry) { return entry.second == kSeveral; });
  return places;
}

std::optional<std::size_t> place_in(const Places& places, const TextItem& item) {
  for (const std::string& name : item.names) {
    if (const auto found = places.find(name); found != places.end()) return found->second;
  }
  return {};
}

std::string shown_name(const TextItem& item) {
  std::string name = item.names[0];
  for (char& c : name) c = c == '\n' ? ' ' : c;
  return name;
}

}  // namespace

std::vector<TextItem> read_text_items(const std::filesystem::path& path, TextTask task,
                                      const std::string& split) {
  return ItemReader(path, task, split).read();
}

std::vector<std::string> names_of_item(const std::string& id, const std::string& image,
                                       const std::string& question) {
  std::vector<std::string> names;
  const std::string asked = question.empty() ? "" : "\n" + question;
  if (!id.empty()) names.push_back("identifier " + id);
  if (!image.empty()) {
    names.push_back("picture " + image + asked);
    names.push_back("file name " + std::filesystem::path(image).filename().string() + asked);
  }
  return names;
}

std::vector<TextPair> pair_items(const std::vector<TextItem>& results,
                                 const std::vector<TextItem>& references, bool partial) {
  const Places places = places_of(references);
  std::vector<const TextItem*> found(references.size(), nullptr);
  for (const TextItem& item : results) {
    const auto place = place_in(places, item);
    if (!place) {
      throw Error(
          fmt::format("entry {} ({}) is not among the references", item.entry, shown_name(item)));
    }
    if (item.texts.size() != 1 || found[*place] != nullptr) {
      throw Error(fmt::format("expected one result, got several for {}", shown_name(item)));
    }
    found[*place] = &item;
  }
  std::vector<TextPair> pairs;
  const TextItem* missing = nullptr;
  for (std::size_t i = 0; i < references.size(); ++i) {
    if (found[i] != nullptr) {
      pairs.push_back({found[i], &references[i]});
    } else if (missing == nullptr) {
      missing = &references[i];
    }
  }
  if (missing != nullptr && (!partial || pairs.empty())) {
    throw Error(
        fmt::format("{} of {} references have no result, the first is {}",
                    references.size() - pairs.size(), references.size(), shown_name(*missing)),
        {}, "--partial scores the others");
  }
  return pairs;
}

}  // namespace blip2
