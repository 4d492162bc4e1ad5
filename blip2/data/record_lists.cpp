#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/data/record_readers_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {

namespace fs = std::filesystem;

std::string_view text_in(const MappedFile& file) {
  const std::string_view text{reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size()};
  without_byte_order_mark(text, file.path().string());  // its error, if any
  return text;
}

void for_each_element(const RecordReading& reading, const JsonElement& list,
                      const std::function<void(const nlohmann::json&, const JsonElement&)>& take) {
  const std::string name = reading.source.path.filename().string();
  JsonElements elements(list.text, "", list.offset);
  if (elements.is_object()) {
    throw Error("expected a JSON list, got an object", reading.source.path.string());
  }
  while (true) {
    JsonElement element;
    try {
      const auto next = elements.next();
      if (!next) return;
      element = *next;
    } catch (const Error& error) {  // the list's own form: nothing more can be found in it
      reading.file.bad.push_back({reading.file.records.size() + 1, error.what(), name});
      return;
    }
    try {
      if (element.text.size() > kRecordLimits.bytes) {
        refuse(fmt::format("expected an entry of at most {} bytes, got {}", kRecordLimits.bytes,
                           element.text.size()));
      }
      take(parse_json(element.text, {}, kRecordLimits), element);
    } catch (const Error& error) {
      reading.file.bad.push_back(
          {element.number, error.what(),
           fmt::format("{}: entry {} (byte {})", name, element.number, element.offset)});
    }
  }
}

std::map<std::string, JsonElement> members_of(std::string_view text, const std::string& where) {
  std::map<std::string, JsonElement> members;
  JsonElements elements(text, where);
  if (!elements.is_object()) throw Error("expected a JSON object, got a list", where);
  try {
    while (const auto member = elements.next()) members[member->key] = *member;
  } catch (const Error&) {
    if (!elements.broken()) throw;
    members[elements.broken()->key] = *elements.broken();
  }
  return members;
}

const std::vector<std::string>& flickr_subfolders() {
  static const std::vector<std::string> folders{"flickr30k-images", "flickr30k_images",
                                                "Flicker8k_Dataset", "Flickr8k_Dataset"};
  return folders;
}

std::vector<fs::path> picture_folders(const DataSource& source,
                                      const std::vector<std::string>& subfolders) {
  const fs::path own = source.path.parent_path();
  std::vector<fs::path> roots{own, own.parent_path(), own / "images", own.parent_path() / "images"};
  if (const auto chosen = source.path_option("images")) roots = {*chosen};
  std::vector<fs::path> folders;
  for (const fs::path& root : roots) {
    folders.push_back(root);
    for (const std::string& subfolder : subfolders) folders.push_back(root / subfolder);
  }
  return folders;
}

void read_lavis_records(const RecordReading& reading) {
  const auto file = MappedFile::open(reading.source.path);
  PictureFinder pictures(picture_folders(reading.source, flickr_subfolders()), kImagesHint);
  for_each_element(reading, {"", text_in(*file), 0, 0},
                   [&](const nlohmann::json& object, const JsonElement& element) {
                     Record record = read_object_record(object, pictures, reading);
                     record.line = element.number;
                     reading.file.records.push_back(std::move(record));
                   });
}

}  // namespace blip2
