#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/data/data_source.h"
#include "blip2/data/picture_finder.h"
#include "blip2/data/record_fields_internal.h"
#include "blip2/data/records.h"
#include "blip2/io/json_elements.h"

// The readers behind read_records(), one for each kind of data. Each adds records to `file`; Error
// if the source as a whole cannot be read.
namespace blip2 {

struct RecordReading {
  const DataSource& source;
  RecordUse use;
  RecordFile& file;
};

void read_jsonl_records(const RecordReading& reading);
void read_lavis_records(const RecordReading& reading);
void read_coco_records(const RecordReading& reading);
void read_karpathy_records(const RecordReading& reading);
void read_visual_genome_records(const RecordReading& reading);
void read_vqav2_records(const RecordReading& reading);
void read_folder_records(const RecordReading& reading);
void read_tar_records(const RecordReading& reading);

constexpr const char* kTextColumn = "text-column";  // the option with the key of captions
constexpr const char* kImagesHint = "say where they are: ?images=FOLDER";

// The file's text, with its byte order mark; Error if it is UTF-16.
std::string_view text_in(const MappedFile& file);

// The record of a line of a data file, or of an element of a list. The picture is under "image" or,
// as in Hugging Face's metadata, under "file_name".
Record read_object_record(const nlohmann::json& object, PictureFinder& pictures,
                          const RecordReading& reading);

// Reads a file of JSON lines. Lines are numbered from `before` + 1; returns the last number.
// `label`: the file's name in the places of its bad records.
std::size_t read_json_lines(const RecordReading& reading, const std::filesystem::path& path,
                            PictureFinder& pictures, std::size_t before, const std::string& label);
// Reads a table with a header line, likewise: a row is an object whose keys are the names of the
// columns; empty cells are left out.
std::size_t read_csv_rows(const RecordReading& reading, const std::filesystem::path& path,
                          PictureFinder& pictures, std::size_t before, const std::string& label);

// Calls `take` with each element of a JSON list. An element that cannot be parsed, or for which
// `take` throws Error, becomes a bad record; a list that is cut off gives one more bad record.
void for_each_element(const RecordReading& reading, const JsonElement& list,
                      const std::function<void(const nlohmann::json&, const JsonElement&)>& take);

// The members of a file that is one JSON object, by key; their values are not parsed. If the file
// is cut off, the last member has the text up to that place.
std::map<std::string, JsonElement> members_of(std::string_view text, const std::string& where);

// The folders where a list's pictures may lie: the option "images" if it is given, otherwise the
// list's folder, the folder above, and "images" in both. `subfolders` are tried in each of them.
std::vector<std::filesystem::path> picture_folders(const DataSource& source,
                                                   const std::vector<std::string>& subfolders = {});

// The names of the folders that hold the pictures in the releases of Flickr30k and Flickr8k.
const std::vector<std::string>& flickr_subfolders();

}  // namespace blip2
