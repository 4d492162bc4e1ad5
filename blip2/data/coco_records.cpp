#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/data/record_readers_internal.h"

namespace blip2 {
namespace {

const JsonElement& member(const std::map<std::string, JsonElement>& members, const char* name,
                          const RecordReading& reading) {
  const auto found = members.find(name);
  if (found != members.end()) return found->second;
  throw Error(fmt::format("expected a list \"{}\"", name), reading.source.path.string());
}

// "captions_train2017.json" -> "train2017", the folder that COCO's pictures come in.
std::vector<std::string> coco_subfolders(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  for (const char* part :
       {"train2014", "val2014", "train2017", "val2017", "test2014", "test2015", "test2017"}) {
    if (name.find(part) != std::string::npos) return {part};
  }
  return {};
}

// A picture of COCO's list, whose captions come later in the file.
struct CocoImage {
  std::optional<Record> record;  // nothing if it is bad
  std::string where;
};

// Karpathy's splits that are asked for; empty: all.
std::vector<std::string> chosen_splits(const DataSource& source) {
  std::vector<std::string> splits;
  const auto found = source.options.find("split");
  if (found == source.options.end()) return splits;
  std::istringstream stream(found->second);
  for (std::string split; std::getline(stream, split, ',');) splits.push_back(split);
  return splits;
}

Record karpathy_record(const nlohmann::json& object, PictureFinder& pictures, RecordUse use) {
  Record record;
  const std::string name = text_of(value_of(object, "filename"), "filename");
  std::string longer = name;
  if (object.contains("filepath")) {
    longer = text_of(object["filepath"], "filepath") + "/" + name;
  }
  record.image = pictures.find(longer, {name});
  record.image_id = object.contains("cocoid") ? "coco:" + id_of(object, "cocoid") : record.image;
  if (use == RecordUse::pictures && !object.contains("sentences")) return record;
  const nlohmann::json& sentences = value_of(object, "sentences");
  if (!sentences.is_array() || sentences.empty()) refuse("\"sentences\": expected a list of some");
  for (const auto& sentence : sentences) {
    record.captions.push_back(text_or_blank_of(value_of(sentence, "raw"), "raw"));
  }
  leave_out_blanks(record);
  return record;
}

// Reading several splits as one would mix training and test data unasked.
void require_one_split(const std::map<std::string, std::size_t>& splits,
                       const RecordReading& reading) {
  if (splits.size() <= 1 || !chosen_splits(reading.source).empty()) return;
  std::string listed;
  for (const auto& [split, count] : splits) {
    listed += fmt::format("{}{} ({})", listed.empty() ? "" : ", ", split, count);
  }
  throw Error("expected one split, got " + listed, reading.source.path.string(),
              "choose with ?split=train,restval or the like");
}

}  // namespace

void read_coco_records(const RecordReading& reading) {
  const auto file = MappedFile::open(reading.source.path);
  const auto members = members_of(text_in(*file), reading.source.path.string());
  PictureFinder pictures(picture_folders(reading.source, coco_subfolders(reading.source.path)),
                         kImagesHint);
  std::vector<CocoImage> images;
  std::unordered_map<std::string, std::size_t> places;
  for_each_element(
      reading, member(members, "images", reading),
      [&](const nlohmann::json& object, const JsonElement& element) {
        const std::string id = id_of(object, "id");
        if (!places.try_emplace(id, images.size()).second) refuse("the image is there twice");
        images.push_back(
            {{}, fmt::format("{}: image {}", reading.source.path.filename().string(), id)});
        Record record;
        record.image = pictures.find(text_of(value_of(object, "file_name"), "file_name"));
        record.image_id = "coco:" + id;
        record.kinds = picture_kinds(object);
        record.line = element.number;
        images.back().record = std::move(record);
      });
  if (reading.use != RecordUse::pictures || members.contains("annotations")) {
    for_each_element(reading, member(members, "annotations", reading),
                     [&](const nlohmann::json& object, const JsonElement&) {
                       const auto place = places.find(id_of(object, "image_id"));
                       if (place == places.end()) refuse("its image is not in the list");
                       auto& record = images[place->second].record;
                       std::string caption =
                           text_or_blank_of(value_of(object, "caption"), "caption");
                       if (!record) return;
                       if (caption.empty()) {
                         ++record->blanks;
                       } else {
                         record->captions.push_back(std::move(caption));
                       }
                     });
  }
  for (CocoImage& image : images) {
    if (!image.record) continue;
    if (image.record->captions.empty() && reading.use != RecordUse::pictures) {
      const char* what = image.record->blanks > 0 ? "all its captions are blank" : "has no caption";
      reading.file.bad.push_back({image.record->line, what, image.where});
    } else {
      reading.file.records.push_back(std::move(*image.record));
    }
  }
}

void read_karpathy_records(const RecordReading& reading) {
  const auto file = MappedFile::open(reading.source.path);
  const auto members = members_of(text_in(*file), reading.source.path.string());
  PictureFinder pictures(picture_folders(reading.source, flickr_subfolders()), kImagesHint);
  const auto wanted = chosen_splits(reading.source);
  std::map<std::string, std::size_t> splits;
  for_each_element(reading, member(members, "images", reading),
                   [&](const nlohmann::json& object, const JsonElement& element) {
                     const std::string split = text_of(value_of(object, "split"), "split");
                     ++splits[split];
                     const bool chosen = wanted.empty() || std::find(wanted.begin(), wanted.end(),
                                                                     split) != wanted.end();
                     if (!chosen) return;
                     Record record = karpathy_record(object, pictures, reading.use);
                     record.line = element.number;
                     reading.file.records.push_back(std::move(record));
                   });
  require_one_split(splits, reading);
  for (const std::string& split : wanted) {
    if (splits.contains(split)) continue;
    throw Error(fmt::format("has no split '{}'", split), reading.source.path.string());
  }
}

}  // namespace blip2
