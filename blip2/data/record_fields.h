#pragma once

#include <filesystem>
#include <initializer_list>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/data/records.h"
#include "blip2/io/json.h"
#include "blip2/io/members.h"

// What the readers of data share. Errors of these carry no place: the caller names it.
namespace blip2 {

// Of one record's JSON.
constexpr JsonLimits kRecordLimits{
    .depth = 16, .bytes = 1u << 20, .values = 100'000, .python_numbers = true};

// Without a byte order mark in front and white space around.
std::string_view trim(std::string_view text);

// The file name's part after its last dot, in lower case: "JPEG" of "a/b.c.JPEG" -> "jpeg".
std::string extension_of(const std::filesystem::path& path);

[[noreturn]] void refuse(std::string what, std::string hint = {});
// "expected …, got the keys […]", with the likely typo.
[[noreturn]] void refuse_missing(const nlohmann::json& object, const char* expected);

// Non-empty text, trimmed.
std::string text_of(const nlohmann::json& value, std::string_view key);
// The same, but blank text is "".
std::string text_or_blank_of(const nlohmann::json& value, std::string_view key);
// The text or texts under the first of `keys` that is there and not null; empty if none is. Blank
// ones of a list are "" in their places; Error if all are blank.
std::vector<std::string> texts_of(const nlohmann::json& object,
                                  std::initializer_list<const char*> keys);
// The value of a key that must be there; of a whole number (3.0 is one) or a text, as text.
const nlohmann::json& value_of(const nlohmann::json& object, const char* key);
std::string id_of(const nlohmann::json& object, const char* key);

// Captions with keywords, or question and answers, as a line of a data file has them: captions are
// under "caption", "captions" or "text", or under `column` alone if it is not empty. Blank captions
// among others are left out and counted; blank answers stay, as the benchmarks count them.
void read_texts(Record& record, const nlohmann::json& object, RecordUse use,
                const std::string& column = {});
// Takes blank captions out of the record and counts them; Error if all are blank.
void leave_out_blanks(Record& record);
// "image_id" if it is there and not null, otherwise the picture.
std::string image_id_of(const nlohmann::json& object, const std::string& otherwise);

// "question_id", or nothing if it is not there.
std::string question_id_of(const nlohmann::json& object);

// Finds pictures by name in some folders, once however many records name them.
class PictureFinder {
 public:
  // Names are tried in each folder, in order; `hint` says what to do when a picture is not there.
  explicit PictureFinder(std::vector<std::filesystem::path> folders, std::string hint = {});

  // The absolute path of the first name that is there; Error if none is, or it is no file. A place
  // in a tar shard (TarPlace, in text form) stands for itself. A picture of COCO's 2014 release is
  // found under its name of 2017, and the other way round.
  std::string find(const std::string& name, std::initializer_list<std::string> others = {});
  // The paths that find() gave.
  std::set<std::string> given() const;

 private:
  struct Found {
    std::string path, problem;
  };
  Found look(const std::vector<std::string>& names);

  std::vector<std::filesystem::path> folders_;
  std::string hint_;
  std::size_t last_folder_ = 0;
  std::map<std::string, Found> known_;
};

}  // namespace blip2
