#include "blip2/data/records.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/nearest.h"
#include "blip2/io/json.h"

namespace blip2 {
namespace {

constexpr JsonLimits kLineLimits{.depth = 16, .bytes = 1u << 20, .values = 100'000};

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The place is known to the caller, who names file and line.
[[noreturn]] void refuse(std::string what, std::string hint = {}) {
  throw Error(std::move(what), {}, std::move(hint));
}

std::string shown(const nlohmann::json& value) {
  const std::string text = value.dump(-1, ' ', true);
  return text.size() > 60 ? text.substr(0, 60) + "…" : text;
}

std::string text_of(const nlohmann::json& value, std::string_view key) {
  if (!value.is_string()) refuse(fmt::format("\"{}\": expected text, got {}", key, shown(value)));
  std::string text(trim(value.get_ref<const std::string&>()));
  if (text.empty()) refuse(fmt::format("\"{}\" is empty", key));
  return text;
}

// A string or a list of strings under the first of `keys` that is there; empty if none is.
std::vector<std::string> texts_of(const nlohmann::json& object,
                                  std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto found = object.find(key);
    if (found == object.end()) continue;
    if (!found->is_array()) return {text_of(*found, key)};
    if (found->empty()) refuse(fmt::format("\"{}\" is an empty list", key));
    std::vector<std::string> texts;
    for (const auto& item : *found) texts.push_back(text_of(item, key));
    return texts;
  }
  return {};
}

[[noreturn]] void refuse_missing(const nlohmann::json& object, const char* expected) {
  const std::vector<std::string> known{"image",  "caption", "captions", "question",
                                       "answer", "answers", "image_id"};
  std::vector<std::string> got;
  std::string hint;
  for (const auto& [key, value] : object.items()) {
    got.push_back(key.substr(0, 40));
    const bool is_known = std::find(known.begin(), known.end(), key) != known.end();
    const std::string near = is_known ? "" : nearest_match(key, known);
    if (!near.empty()) hint = fmt::format("did you mean \"{}\" by \"{}\"?", near, got.back());
  }
  refuse(fmt::format("expected {}, got the keys [{}]", expected, fmt::join(got, ", ")), hint);
}

std::string image_id_of(const nlohmann::json& object, const std::string& otherwise) {
  const auto found = object.find("image_id");
  if (found == object.end()) return otherwise;
  if (found->is_number_integer()) return found->dump();
  return text_of(*found, "image_id");
}

// Finds pictures once, however many records name them.
class PictureFinder {
 public:
  explicit PictureFinder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::string find(const nlohmann::json& object) {
    const auto named = object.find("image");
    if (named == object.end()) refuse_missing(object, "a key \"image\"");
    const std::string name = text_of(*named, "image");
    const auto [place, fresh] = known_.try_emplace(name);
    if (fresh) place->second = look(name);
    if (!place->second.second.empty()) refuse(place->second.second);
    return place->second.first;
  }

 private:
  // The absolute path and what is wrong with it.
  std::pair<std::string, std::string> look(const std::string& name) const {
    if (name.find('\0') != std::string::npos) return {"", "the picture's name holds a zero byte"};
    const std::string path = (folder_ / name).lexically_normal().string();
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) {
      return {path, fmt::format("cannot find the picture {}", path)};
    }
    if (!S_ISREG(status.st_mode)) return {path, fmt::format("{} is not a file", path)};
    if (status.st_size == 0) return {path, fmt::format("the picture {} is empty", path)};
    return {path, ""};
  }

  std::filesystem::path folder_;
  std::map<std::string, std::pair<std::string, std::string>> known_;
};

void read_texts(Record& record, const nlohmann::json& object, RecordUse use) {
  record.captions = texts_of(object, {"caption", "captions"});
  if (const auto question = object.find("question"); question != object.end()) {
    record.question = text_of(*question, "question");
  }
  record.answers = texts_of(object, {"answer", "answers"});
  if (record.is_question() && !record.captions.empty()) {
    refuse("expected a caption or a question, got both", "make two lines of it");
  }
  if (use == RecordUse::pictures) return;
  if (!record.is_question() && record.captions.empty()) {
    refuse_missing(object, "\"caption\" or \"question\"");
  }
  if (use == RecordUse::train && record.is_question() && record.answers.empty()) {
    refuse_missing(object, "\"answer\" beside \"question\"");
  }
}

Record read_line(std::string_view line, PictureFinder& pictures, RecordUse use) {
  if (line.size() > kLineLimits.bytes) {
    refuse(
        fmt::format("expected a line of at most {} bytes, got {}", kLineLimits.bytes, line.size()));
  }
  const nlohmann::json object = parse_json(line, {}, kLineLimits);
  if (!object.is_object()) refuse("expected an object {\"image\": …}, got " + shown(object));
  Record record;
  record.image = pictures.find(object);
  record.image_id = image_id_of(object, record.image);
  read_texts(record, object, use);
  return record;
}

void apply_policy(const RecordFile& file, const BadRecordPolicy& policy) {
  const std::size_t total = file.records.size() + file.bad.size();
  const std::string described = describe_bad_records(file, policy.listed);
  if (file.records.empty()) {
    throw Error(described.empty() ? "holds no record" : "holds no good record; " + described,
                file.path.string(), "each line is an object {\"image\": …, \"caption\": …}");
  }
  if (static_cast<double>(file.bad.size()) <= policy.share * static_cast<double>(total)) return;
  throw Error(
      fmt::format("more than {:g} % of the records are bad: {}", 100 * policy.share, described),
      file.path.string(), "mend the lines, or allow a larger share of bad records");
}

}  // namespace

std::string describe_bad_records(const RecordFile& file, std::size_t listed) {
  if (file.bad.empty()) return {};
  std::string text = fmt::format("{} of {} records are bad", file.bad.size(),
                                 file.records.size() + file.bad.size());
  for (std::size_t i = 0; i < std::min(listed, file.bad.size()); ++i) {
    text += fmt::format("{} {}:{}: {}", i == 0 ? ":" : ";", file.path.filename().string(),
                        file.bad[i].line, file.bad[i].what);
  }
  if (file.bad.size() > listed) text += fmt::format("; and {} more", file.bad.size() - listed);
  return text;
}

RecordFile read_records(const std::filesystem::path& path, RecordUse use,
                        const BadRecordPolicy& policy) {
  RecordFile file{std::filesystem::absolute(path), {}, {}};
  const auto mapped = MappedFile::open(path);
  std::string_view text(reinterpret_cast<const char*>(mapped->bytes().data()),
                        mapped->bytes().size());
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  PictureFinder pictures(file.path.parent_path());
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    try {
      file.records.push_back(read_line(line, pictures, use));
      file.records.back().line = number;
    } catch (const Error& error) {
      file.bad.push_back({number, error.what()});
    }
  }
  apply_policy(file, policy);
  return file;
}

void drop_pictures(RecordFile& file, const std::map<std::string, std::string>& unreadable,
                   const BadRecordPolicy& policy) {
  const auto is_bad = [&](const Record& record) {
    const auto found = unreadable.find(record.image);
    if (found == unreadable.end()) return false;
    file.bad.push_back({record.line, found->second});
    return true;
  };
  file.records.erase(std::remove_if(file.records.begin(), file.records.end(), is_bad),
                     file.records.end());
  std::sort(file.bad.begin(), file.bad.end(),
            [](const BadRecord& a, const BadRecord& b) { return a.line < b.line; });
  apply_policy(file, policy);
}

}  // namespace blip2
