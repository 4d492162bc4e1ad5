#include "blip2/data/records.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/data/record_readers_internal.h"
#include "blip2/io/picture_format.h"

namespace blip2 {
namespace {

void read_by_kind(const RecordReading& reading) {
  switch (reading.source.kind) {
    case DataKind::jsonl:
      return read_jsonl_records(reading);
    case DataKind::lavis:
      return read_lavis_records(reading);
    case DataKind::coco:
      return read_coco_records(reading);
    case DataKind::karpathy:
      return read_karpathy_records(reading);
    case DataKind::visual_genome:
      return read_visual_genome_records(reading);
    case DataKind::vqav2:
      return read_vqav2_records(reading);
    case DataKind::folder:
      return read_folder_records(reading);
    case DataKind::tar:
      return read_tar_records(reading);
  }
}

Record read_line(std::string_view line, PictureFinder& pictures, const RecordReading& reading) {
  if (line.size() > kRecordLimits.bytes) {
    refuse(fmt::format("expected a line of at most {} bytes, got {}", kRecordLimits.bytes,
                       line.size()));
  }
  return read_object_record(parse_json(line, {}, kRecordLimits), pictures, reading);
}

// What a source of the kind holds, for an error where nothing was found.
std::string form_of(DataKind kind) {
  if (kind == DataKind::tar) {
    return fmt::format("a sample is a picture ({}) with a .txt or .json of its name",
                       picture_extensions());
  }
  if (kind == DataKind::folder) {
    return "a record is a picture with a .txt or .json of its name, or a line of a metadata.jsonl "
           "or metadata.csv";
  }
  if (kind == DataKind::jsonl) return "each line is an object {\"image\": …, \"caption\": …}";
  return "docs/data.md shows what each kind holds";
}

void apply_policy(const RecordFile& file, const BadRecordPolicy& policy, const std::string& form) {
  const std::size_t total = file.records.size() + file.bad.size();
  const std::string described = describe_bad_records(file, policy.listed);
  if (file.records.empty()) {
    std::string what = file.bad.empty() ? "holds no record" : "holds no good record";
    if (!described.empty()) what += "; " + described;
    throw Error(std::move(what), file.path.string(), form);
  }
  if (static_cast<double>(file.bad.size()) <= policy.share * static_cast<double>(total)) return;
  throw Error(
      fmt::format("more than {:g} % of the records are bad: {}", 100 * policy.share, described),
      file.path.string(),
      "mend them, or allow a larger share: --bad-share, in a recipe data.bad_share");
}

// "2 blank captions are left out (a.jpg)" after `before`; empty if none are.
std::string describe_blanks(const RecordFile& file, const char* before) {
  std::size_t blanks = 0;
  const Record* first = nullptr;
  for (const Record& record : file.records) {
    if (record.blanks > 0 && first == nullptr) first = &record;
    blanks += record.blanks;
  }
  if (first == nullptr) return {};
  return fmt::format("{}{} blank caption{} left out, the first of {}", before, blanks,
                     blanks == 1 ? " is" : "s are", first->image);
}

}  // namespace

std::string describe_bad_records(const RecordFile& file, std::size_t listed) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < std::min(listed, file.bad.size()); ++i) {
    parts.push_back(fmt::format("{}: {}", place_of(file, file.bad[i]), file.bad[i].what));
  }
  if (file.bad.size() > listed)
    parts.push_back(fmt::format("and {} more", file.bad.size() - listed));
  std::string text;
  if (!file.bad.empty()) {
    text = fmt::format("{} of {} records are bad: {}", file.bad.size(),
                       file.records.size() + file.bad.size(), fmt::join(parts, "; "));
  }
  text += describe_blanks(file, text.empty() ? "" : "; ");
  for (std::size_t i = 0; i < std::min(listed, file.damage.size()); ++i) {
    text += (text.empty() ? "" : "; ") + file.damage[i];
  }
  if (file.damage.size() > listed) {
    text += fmt::format("; and {} more damaged files", file.damage.size() - listed);
  }
  for (const std::string& what : file.passed_over) {
    text += (text.empty() ? "passed over: " : "; passed over: ") + what;
  }
  return text;
}

std::string place_of(const RecordFile& file, const BadRecord& bad) {
  if (!bad.where.empty()) return bad.where;
  return fmt::format("{}:{}", file.path.filename().string(), bad.line);
}

const std::string& first_text(const std::vector<std::string>& texts) {
  const auto is_text = [](const std::string& text) { return !text.empty(); };
  const auto found = std::find_if(texts.begin(), texts.end(), is_text);
  if (found == texts.end()) throw Error("expected a text, got none");
  return *found;
}

Record read_object_record(const nlohmann::json& object, PictureFinder& pictures,
                          const RecordReading& reading) {
  if (!object.is_object()) refuse("expected an object {\"image\": …}, got " + shown(object));
  Record record;
  const char* key = object.contains("image") ? "image" : "file_name";
  const auto named = object.find(key);
  if (named == object.end()) refuse_missing(object, "a key \"image\"");
  record.image = pictures.find(text_of(*named, key));
  record.image_id = image_id_of(object, record.image);
  read_texts(record, object, reading.use, reading.source.option(kTextColumn));
  return record;
}

std::size_t read_json_lines(const RecordReading& reading, const std::filesystem::path& path,
                            PictureFinder& pictures, std::size_t before, const std::string& label) {
  RecordFile& file = reading.file;
  const auto mapped = MappedFile::open(path);
  std::string_view text = text_in(*mapped);
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    try {
      file.records.push_back(read_line(line, pictures, reading));
      file.records.back().line = before + number;
    } catch (const Error& error) {
      file.bad.push_back({before + number, error.what(), fmt::format("{}:{}", label, number)});
    }
  }
  return before + number;
}

void read_jsonl_records(const RecordReading& reading) {
  const auto folder = reading.source.path_option("images");
  std::size_t lines = 0;
  for (const auto& path : shards_of(reading.source.path, ".jsonl")) {
    PictureFinder pictures({folder.value_or(path.parent_path())});
    lines = read_json_lines(reading, path, pictures, lines, path.filename().string());
  }
}

RecordFile read_records(const std::string& source, RecordUse use, const BadRecordPolicy& policy) {
  const DataSource opened = open_data_source(source);
  RecordFile file{opened.path, {}, {}};
  read_by_kind({opened, use, file});
  apply_policy(file, policy, form_of(opened.kind));
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
  std::stable_sort(file.bad.begin(), file.bad.end(),
                   [](const BadRecord& a, const BadRecord& b) { return a.line < b.line; });
  apply_policy(file, policy, "their pictures cannot be read");
}

}  // namespace blip2
