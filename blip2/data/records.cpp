#include "blip2/data/records.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/data/record_readers.h"

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
  const nlohmann::json object = parse_json(line, {}, kRecordLimits);
  // In a folder's metadata.jsonl the picture goes by "file_name", as Hugging Face has it.
  const bool in_folder =
      reading.source.kind == DataKind::folder && object.is_object() && !object.contains("image");
  return read_object_record(object, pictures, reading.use, in_folder ? "file_name" : "image");
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
      file.path.string(), "mend them, or allow a larger share of bad records");
}

}  // namespace

std::string describe_bad_records(const RecordFile& file, std::size_t listed) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < std::min(listed, file.bad.size()); ++i) {
    const BadRecord& bad = file.bad[i];
    const std::string where = bad.where.empty()
                                  ? fmt::format("{}:{}", file.path.filename().string(), bad.line)
                                  : bad.where;
    parts.push_back(fmt::format("{}: {}", where, bad.what));
  }
  if (file.bad.size() > listed)
    parts.push_back(fmt::format("and {} more", file.bad.size() - listed));
  std::string text;
  if (!file.bad.empty()) {
    text = fmt::format("{} of {} records are bad: {}", file.bad.size(),
                       file.records.size() + file.bad.size(), fmt::join(parts, "; "));
  }
  for (std::size_t i = 0; i < std::min(listed, file.damage.size()); ++i) {
    text += (text.empty() ? "" : "; ") + file.damage[i];
  }
  if (file.damage.size() > listed) {
    text += fmt::format("; and {} more damaged files", file.damage.size() - listed);
  }
  return text;
}

Record read_object_record(const nlohmann::json& object, PictureFinder& pictures, RecordUse use,
                          const char* image_key) {
  if (!object.is_object()) refuse("expected an object {\"image\": …}, got " + shown(object));
  Record record;
  const auto named = object.find(image_key);
  if (named == object.end()) refuse_missing(object, "a key \"image\"");
  record.image = pictures.find(text_of(*named, image_key));
  record.image_id = image_id_of(object, record.image);
  read_texts(record, object, use);
  return record;
}

namespace {

// One file's lines, numbered after those of the files before it. `several`: it is one of many, so
// that a bad line needs its name.
std::size_t read_lines(const RecordReading& reading, const std::filesystem::path& path,
                       std::size_t before, bool several) {
  RecordFile& file = reading.file;
  const auto mapped = MappedFile::open(path);
  std::string_view text = text_in(*mapped);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const auto folder = reading.source.path_option("images");
  PictureFinder pictures({folder.value_or(path.parent_path())});
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
      file.bad.push_back({before + number, error.what(),
                          several ? fmt::format("{}:{}", path.filename().string(), number) : ""});
    }
  }
  return before + number;
}

}  // namespace

void read_jsonl_records(const RecordReading& reading) {
  const auto files = shards_of(reading.source.path, ".jsonl");
  std::size_t lines = 0;
  for (const auto& path : files) lines = read_lines(reading, path, lines, files.size() > 1);
}

RecordFile read_records(const std::string& source, RecordUse use, const BadRecordPolicy& policy) {
  const DataSource opened = open_data_source(source);
  RecordFile file{opened.path, {}, {}};
  read_by_kind({opened, use, file});
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
  std::stable_sort(file.bad.begin(), file.bad.end(),
                   [](const BadRecord& a, const BadRecord& b) { return a.line < b.line; });
  apply_policy(file, policy);
}

}  // namespace blip2
