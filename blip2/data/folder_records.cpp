#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/data/record_readers_internal.h"
#include "blip2/data/sidecar_internal.h"
#include "blip2/io/picture_format.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kListed = 3;  // names in a message

// Kinds of pictures that people have and nothing here reads.
bool is_unread_picture(const std::string& extension) {
  static const std::set<std::string> kinds{"jxl", "jp2", "svg", "ico", "tga", "psd", "ppm"};
  return kinds.contains(extension);
}

// What lies below a folder; hidden files and folders are passed over. Sorted.
struct Listing {
  std::vector<fs::path> pictures, unread, metadata;
  // The .txt and .json by path without extension.
  std::map<std::string, std::map<std::string, fs::path>> texts;
};

void add_file(Listing& listing, const fs::path& path) {
  const std::string extension = extension_of(path), name = path.filename().string();
  if (name == "metadata.jsonl" || name == "metadata.csv") {
    listing.metadata.push_back(path);
  } else if (is_picture_extension(extension)) {
    listing.pictures.push_back(path);
  } else if (is_unread_picture(extension)) {
    listing.unread.push_back(path);
  } else if (extension == "txt" || extension == "json") {
    // If both a.txt and a.TXT exist, the first counts.
    auto& place = listing.texts[fs::path(path).replace_extension().string()][extension];
    if (place.empty() || path.extension() == "." + extension) place = path;
  }
}

Listing list_folder(const fs::path& folder) {
  constexpr auto kOptions = fs::directory_options::skip_permission_denied;
  Listing listing;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, kOptions, error), end; entry != end;
       entry.increment(error)) {
    const bool hidden = entry->path().filename().string().starts_with('.');
    if (hidden && entry->is_directory()) entry.disable_recursion_pending();
    if (!hidden) add_file(listing, entry->path());
  }
  if (error) throw Error("cannot list: " + error.message(), folder.string());
  for (auto* paths : {&listing.pictures, &listing.unread, &listing.metadata}) {
    std::sort(paths->begin(), paths->end());
  }
  return listing;
}

// "3 WHAT: a, b and 1 more"; nothing for no names.
void pass_over(const RecordReading& reading, const char* what, const std::vector<fs::path>& paths) {
  if (paths.empty()) return;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(kListed, paths.size()); ++i) {
    names.push_back(paths[i].lexically_relative(reading.source.path).string());
  }
  std::string text = fmt::format("{} {}: {}", paths.size(), what, fmt::join(names, ", "));
  if (paths.size() > kListed) text += fmt::format(" and {} more", paths.size() - kListed);
  reading.file.passed_over.push_back(std::move(text));
}

Record folder_record(const fs::path& picture, const Listing& listing, PictureFinder& finder,
                     const RecordReading& reading) {
  Record record;
  record.image = record.image_id = finder.find(picture.string());
  const auto found = listing.texts.find(fs::path(picture).replace_extension().string());
  if (found == listing.texts.end()) {
    if (reading.use != RecordUse::pictures) refuse("has no text beside it (.txt or .json)");
    return record;
  }
  const auto& texts = found->second;
  const auto& [extension, path] = texts.contains("txt") ? *texts.find("txt") : *texts.begin();
  read_sidecar(record, "." + extension, read_file(path, kRecordLimits.bytes), reading.use,
               reading.source.option(kTextColumn));
  return record;
}

void read_pairs(const RecordReading& reading, const Listing& listing) {
  PictureFinder finder({reading.source.path});
  std::vector<fs::path> pictures = listing.pictures;
  pictures.insert(pictures.end(), listing.unread.begin(), listing.unread.end());
  std::sort(pictures.begin(), pictures.end());
  std::set<std::string> stems;
  std::size_t number = 0;
  for (const fs::path& picture : pictures) {
    ++number;
    stems.insert(fs::path(picture).replace_extension().string());
    try {
      if (is_unread_picture(extension_of(picture))) {
        refuse(fmt::format("expected {}, got a picture of another kind", picture_extensions()));
      }
      reading.file.records.push_back(folder_record(picture, listing, finder, reading));
      reading.file.records.back().line = number;
    } catch (const Error& error) {
      reading.file.bad.push_back(
          {number, error.what(), picture.lexically_relative(reading.source.path).string()});
    }
  }
  std::vector<fs::path> alone;
  for (const auto& [stem, texts] : listing.texts) {
    if (!stems.contains(stem)) alone.push_back(texts.begin()->second);
  }
  pass_over(reading, "without a picture of their name", alone);
}

// The hub's layout: files of metadata name the pictures in and below their folders.
void read_metadata(const RecordReading& reading, const Listing& listing) {
  std::set<std::string> named;
  std::vector<fs::path> second, unnamed;
  std::size_t lines = 0;
  for (const fs::path& path : listing.metadata) {
    const bool is_csv = path.extension() == ".csv";
    if (is_csv && fs::exists(fs::path(path).replace_extension(".jsonl"))) {
      second.push_back(path);
      continue;
    }
    PictureFinder pictures({path.parent_path()});
    const std::string label = path.lexically_relative(reading.source.path).string();
    lines = (is_csv ? read_csv_rows : read_json_lines)(reading, path, pictures, lines, label);
    named.merge(pictures.given());
  }
  pass_over(reading, "beside a metadata.jsonl", second);
  for (const auto* paths : {&listing.pictures, &listing.unread}) {
    for (const fs::path& path : *paths) {
      if (!named.contains(path.lexically_normal().string())) unnamed.push_back(path);
    }
  }
  pass_over(reading, "that no line of the metadata names", unnamed);
}

}  // namespace

void read_folder_records(const RecordReading& reading) {
  const fs::path& folder = reading.source.path;
  if (!fs::is_directory(folder)) throw Error("expected a folder", folder.string());
  const Listing listing = list_folder(folder);
  if (listing.metadata.empty()) {
    read_pairs(reading, listing);
  } else {
    read_metadata(reading, listing);
  }
}

}  // namespace blip2
