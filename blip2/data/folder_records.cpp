#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/data/record_readers.h"
#include "blip2/data/sidecar.h"
#include "blip2/io/tar_samples.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

bool is_picture(const fs::path& path) {
  return is_picture_extension(split_member_name(path.extension().string()).second);
}

// All pictures below the folder, in the order of their paths; hidden ones are passed over.
std::vector<fs::path> pictures_below(const fs::path& folder) {
  constexpr auto kOptions = fs::directory_options::skip_permission_denied;
  std::vector<fs::path> pictures;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, kOptions, error), end; entry != end;
       entry.increment(error)) {
    const bool hidden = entry->path().filename().string().starts_with('.');
    if (hidden && entry->is_directory()) entry.disable_recursion_pending();
    if (!hidden && is_picture(entry->path())) pictures.push_back(entry->path());
  }
  if (error) throw Error("cannot list: " + error.message(), folder.string());
  std::sort(pictures.begin(), pictures.end());
  return pictures;
}

Record folder_record(const fs::path& picture, PictureFinder& finder, RecordUse use) {
  Record record;
  record.image = record.image_id = finder.find(picture.string());
  for (const char* extension : {".txt", ".json"}) {
    const fs::path text = fs::path(picture).replace_extension(extension);
    std::error_code ignored;
    if (!fs::exists(text, ignored)) continue;
    read_sidecar(record, extension, read_file(text, kRecordLimits.bytes), use);
    return record;
  }
  if (use != RecordUse::pictures) refuse("has no text beside it (.txt or .json)");
  return record;
}

}  // namespace

void read_folder_records(const RecordReading& reading) {
  const fs::path& folder = reading.source.path;
  if (!fs::is_directory(folder)) throw Error("expected a folder", folder.string());
  if (fs::exists(folder / "metadata.jsonl")) {
    const DataSource lines{DataKind::folder, folder / "metadata.jsonl", {}};
    return read_jsonl_records({lines, reading.use, reading.file});
  }
  PictureFinder finder({folder});
  std::size_t number = 0;
  for (const fs::path& picture : pictures_below(folder)) {
    ++number;
    try {
      reading.file.records.push_back(folder_record(picture, finder, reading.use));
      reading.file.records.back().line = number;
    } catch (const Error& error) {
      reading.file.bad.push_back(
          {number, error.what(), picture.lexically_relative(folder).string()});
    }
  }
}

}  // namespace blip2
