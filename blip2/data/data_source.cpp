#include "blip2/data/data_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/nearest.h"
#include "blip2/data/record_fields_internal.h"
#include "blip2/io/json.h"
#include "blip2/io/json_elements.h"
#include "blip2/io/picture_format.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

struct KindInfo {
  DataKind kind;
  std::string_view name;
  std::vector<std::string> options;
};

const std::array<KindInfo, 8>& all_kinds() {
  static const std::array<KindInfo, 8> kinds{{{DataKind::jsonl, "jsonl", {"images", "text-column"}},
                                              {DataKind::lavis, "lavis", {"images", "text-column"}},
                                              {DataKind::coco, "coco", {"images"}},
                                              {DataKind::karpathy, "karpathy", {"images", "split"}},
                                              {DataKind::visual_genome, "vg", {"images"}},
                                              {DataKind::vqav2, "vqav2", {"images", "annotations"}},
                                              {DataKind::folder, "folder", {"text-column"}},
                                              {DataKind::tar, "tar", {"text-column"}}}};
  return kinds;
}

const KindInfo& info_of(DataKind kind) {
  return *std::find_if(all_kinds().begin(), all_kinds().end(),
                       [&](const KindInfo& info) { return info.kind == kind; });
}

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const KindInfo& info : all_kinds()) names.emplace_back(info.name);
  return names;
}

[[noreturn]] void refuse_unknown(const std::string& what, const std::string& where,
                                 const std::string& hint = {}) {
  throw Error(what, where, fmt::format("{}known kinds: {}", hint, fmt::join(kind_names(), ", ")));
}

// The parts of a source's text; a file of just that name is meant literally.
struct Parts {
  std::string kind, path, options;
};

Parts split(const std::string& text, const fs::path& folder) {
  std::error_code ignored;
  if (fs::exists(folder / text, ignored)) return {"", text, ""};
  Parts parts{"", text, ""};
  const std::size_t colon = text.find(':');
  if (colon != std::string::npos && text.find('/') > colon) {
    const std::string name = text.substr(0, colon);
    const auto names = kind_names();
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      const std::string near = nearest_match(name, names);
      refuse_unknown(fmt::format("unknown kind of data '{}'{}", name,
                                 near.empty() ? "" : fmt::format("; did you mean '{}'?", near)),
                     text);
    }
    parts.kind = name;
    parts.path = text.substr(colon + 1);
  }
  const std::size_t mark = parts.path.rfind('?');
  if (mark != std::string::npos && parts.path.find('=', mark) != std::string::npos) {
    parts.options = parts.path.substr(mark + 1);
    parts.path.resize(mark);
  }
  return parts;
}

std::map<std::string, std::string> parse_options(const std::string& text,
                                                 const std::string& where) {
  std::map<std::string, std::string> options;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, '&');) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || equals + 1 == part.size()) {
      throw Error(fmt::format("expected option=value, got '{}'", part), where);
    }
    options[part.substr(0, equals)] = part.substr(equals + 1);
  }
  return options;
}

void check_options(const DataSource& source, const std::string& where) {
  const KindInfo& info = info_of(source.kind);
  for (const auto& [key, value] : source.options) {
    if (std::find(info.options.begin(), info.options.end(), key) != info.options.end()) continue;
    throw Error(fmt::format("'{}' is no option of {} data", key, info.name), where,
                info.options.empty()
                    ? "it has none"
                    : fmt::format("its options: {}", fmt::join(info.options, ", ")));
  }
}

// The first element of a list as JSON, or null.
nlohmann::json first_of(std::string_view list) {
  try {
    JsonElements elements(list, "");
    if (elements.is_object()) return nullptr;
    const auto element = elements.next();
    return element ? parse_json(element->text, "", kRecordLimits) : nlohmann::json();
  } catch (const Error&) {
    return nullptr;
  }
}

std::optional<DataKind> recognise_list(std::string_view text) {
  const nlohmann::json first = first_of(text);
  if (!first.is_object()) return {};
  if (first.contains("regions") || first.contains("qas")) return DataKind::visual_genome;
  if (first.contains("image") || first.contains("file_name")) return DataKind::lavis;
  return {};
}

std::optional<DataKind> recognise_object(std::string_view text) {
  JsonElements members(text, "");
  while (const auto member = members.next()) {
    if (member->key == "image" || member->key == "file_name") return DataKind::jsonl;
    const nlohmann::json first = first_of(member->text);
    if (!first.is_object()) continue;
    if (member->key == "questions") return DataKind::vqav2;
    if (member->key == "images" && first.contains("sentences")) return DataKind::karpathy;
    if (member->key == "images" && first.contains("file_name")) return DataKind::coco;
    if (member->key == "annotations" && first.contains("caption")) return DataKind::coco;
  }
  return {};
}

std::optional<DataKind> recognise_text(const fs::path& path) {
  const auto file = MappedFile::open(path);
  std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  const std::size_t first = text.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (first == text.npos) return {};
  without_byte_order_mark(text, path.string());  // refuses UTF-16
  try {
    if (text[first] == '[') return recognise_list(text.substr(first));
    if (text[first] == '{') return recognise_object(text.substr(first));
  } catch (const Error&) {  // malformed or cut off
  }
  // Lines of JSON, the first of them broken: whoever reads them says so.
  const bool lines = text[first] == '{' && extension_of(path) != "json";
  return lines ? std::optional(DataKind::jsonl) : std::nullopt;
}

std::optional<DataKind> recognise_folder(const fs::path& folder) {
  if (fs::exists(folder / "config.json")) return {};  // a model
  bool has_shards = false, has_lists = false;
  bool has_pictures = fs::exists(folder / "metadata.jsonl") || fs::exists(folder / "metadata.csv");
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string extension = extension_of(entry.path());
    has_shards = has_shards || extension == "tar";
    has_lists = has_lists || extension == "jsonl";
    has_pictures = has_pictures || is_picture_extension(extension) || entry.is_directory(ignored);
  }
  if (has_shards) return DataKind::tar;
  if (has_pictures) return DataKind::folder;
  return has_lists ? std::optional(DataKind::jsonl) : std::nullopt;
}

std::string absolute_text(const fs::path& folder, const std::string& path) {
  return path.empty() ? path : fs::absolute(folder / path).lexically_normal().string();
}

bool is_path_option(const std::string& key) {
  return key == "images" || key == "annotations";
}

}  // namespace

std::string hint_for_unread_data(const fs::path& path) {
  const std::string name = path.filename().string(), extension = extension_of(path);
  if (extension == "gz" || extension == "tgz" || extension == "bz2" || extension == "xz" ||
      extension == "zst" || extension == "zip") {
    return "unpack it first; ";
  }
  if (name == "metadata.csv") return "name its folder; ";
  if (extension == "csv" || extension == "tsv" || extension == "token") {
    return "tables are read as a folder's metadata.csv with the columns file_name and text; ";
  }
  if (extension == "parquet" || extension == "arrow") {
    return "write it as a metadata.jsonl beside its pictures or as tar shards; ";
  }
  return {};
}

std::string_view data_kind_name(DataKind kind) {
  return info_of(kind).name;
}

std::optional<fs::path> DataSource::path_option(const std::string& name) const {
  const auto found = options.find(name);
  if (found == options.end()) return {};
  return fs::absolute(found->second).lexically_normal();
}

std::string DataSource::option(const std::string& name) const {
  const auto found = options.find(name);
  return found == options.end() ? "" : found->second;
}

std::optional<DataKind> recognise_data(const fs::path& path) {
  std::error_code ignored;
  const bool has_braces = path.string().find('{') != std::string::npos;
  if (path.extension() == ".tar" || (has_braces && !fs::exists(path, ignored))) {
    return path.extension() == ".jsonl" ? DataKind::jsonl : DataKind::tar;
  }
  if (fs::is_directory(path)) return recognise_folder(path);
  if (path.extension() == ".jsonl" || !fs::exists(path, ignored)) return DataKind::jsonl;
  return recognise_text(path);
}

DataSource open_data_source(const std::string& text) {
  const Parts parts = split(text, fs::current_path());
  if (parts.path.empty()) throw Error("expected a data file, got an empty name", text);
  DataSource source;
  source.path = fs::absolute(parts.path).lexically_normal();
  source.options = parse_options(parts.options, text);
  if (parts.kind.empty()) {
    const auto kind = recognise_data(source.path);
    if (!kind && fs::exists(source.path)) {
      refuse_unknown("cannot tell what kind of data this is", text,
                     hint_for_unread_data(source.path));
    }
    source.kind = kind.value_or(DataKind::jsonl);
  } else {
    source.kind = std::find_if(all_kinds().begin(), all_kinds().end(), [&](const KindInfo& info) {
                    return info.name == parts.kind;
                  })->kind;
  }
  check_options(source, text);
  return source;
}

std::string resolve_data_source(const std::string& text, const fs::path& folder) {
  if (text.empty()) return text;
  const Parts parts = split(text, folder);
  std::string resolved = parts.kind.empty() ? "" : parts.kind + ":";
  resolved += absolute_text(folder, parts.path);
  char before = '?';
  for (const auto& [key, value] : parse_options(parts.options, text)) {
    resolved += fmt::format("{}{}={}", before, key,
                            is_path_option(key) ? absolute_text(folder, value) : value);
    before = '&';
  }
  return resolved;
}

}  // namespace blip2
