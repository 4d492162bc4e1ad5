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
#include "blip2/data/record_fields.h"
#include "blip2/data/records.h"
#include "blip2/io/json_elements.h"

// The readers behind read_records(), one for each kind of data. Each adds to `file`; Error if the
// source as a whole cannot be read.
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

constexpr const char* kTextColumn = "text-column";  // the option that names captions' key
constexpr const char* kImagesHint = "say where they are: ?images=FOLDER";

// The file's text, with its byte order mark; Error if it is UTF-16.
std::string_view text_in(const MappedFile& file);

// A line of a data file, or an element of a list of such objects. The picture is under "image" or,
// as Hugging Face's metadata have it, "file_name".
Record read_object_record(const nlohmann::json& object, PictureFinder& pictures,
                          const RecordReading& reading);

// A file of JSON lines whose numbers begin after `before`; gives that of the last. `label`: the
// file's name in the places of its bad records.
std::size_t read_json_lines(const RecordReading& reading, const std::filesystem::path& path,
                            PictureFinder& pictures, std::size_t before, const std::string& label);
// The same of a table with a header line: a row is a record whose keys are the columns' names,
// without those of empty cells.
std::size_t read_csv_rows(const RecordReading& reading, const std::filesystem::path& path,
                          PictureFinder& pictures, std::size_t before, const std::string& label);

// Calls `take` with each element of a JSON list; an element that cannot be parsed, or for which
// `take` throws Error, becomes a bad record, and so does the place where the list is cut off.
void for_each_element(const RecordReading& reading, const JsonElement& list,
                      const std::function<void(const nlohmann::json&, const JsonElement&)>& take);

// The members of a file that is one JSON object, not parsed. A member in which the file is cut off
// is there as far as it goes.
std::map<std::string, JsonElement> members_of(std::string_view text, const std::string& where);

// The folders where a list's pictures may lie: the option "images" if it is given, otherwise the
// list's own folder, the one above, and "images" in both. `subfolders` are tried in each.
std::vector<std::filesystem::path> picture_folders(const DataSource& source,
                                                   const std::vector<std::string>& subfolders = {});

// The folders in which the pictures of Flickr30k and Flickr8k come.
const std::vector<std::string>& flickr_subfolders();

}  // namespace blip2
