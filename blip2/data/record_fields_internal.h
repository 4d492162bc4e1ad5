#pragma once

#include <filesystem>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/data/records.h"
#include "blip2/io/json.h"
#include "blip2/io/members.h"

// Functions that the readers of data share. Their Errors carry no place: the caller adds it.
namespace blip2 {

// Limits on one record's JSON.
constexpr JsonLimits kRecordLimits{
    .depth = 16, .bytes = 1u << 20, .values = 100'000, .python_numbers = true};

// The text without a byte order mark in front and white space at its ends.
std::string_view trim(std::string_view text);

// The file name's part after its last dot, in lower case: "JPEG" of "a/b.c.JPEG" -> "jpeg".
std::string extension_of(const std::filesystem::path& path);

[[noreturn]] void refuse(std::string what, std::string hint = {});
// Throws Error "expected …, got the keys […]", with a hint if a key looks like a typo.
[[noreturn]] void refuse_missing(const nlohmann::json& object, const char* expected);

// Non-empty text, trimmed.
std::string text_of(const nlohmann::json& value, std::string_view key);
// The value as trimmed text, "" if it is blank; Error if it is not a text.
std::string text_or_blank_of(const nlohmann::json& value, std::string_view key);
// The text or texts under the first of `keys` that the object has and that is not null; empty
// without such a key. A blank text in a list is "" in its place; Error if all are blank.
std::vector<std::string> texts_of(const nlohmann::json& object,
                                  std::initializer_list<const char*> keys);
// value_of: the value of a key; Error without the key. id_of: the same as text, for a whole number
// (3.0 is one) or a text.
const nlohmann::json& value_of(const nlohmann::json& object, const char* key);
std::string id_of(const nlohmann::json& object, const char* key);

// Reads captions with keywords, or question and answers, into the record, as a line of a data file
// has them: captions are under "caption", "captions" or "text", or only under `column` if it is not
// empty. Blank captions are left out and counted unless all are blank; blank answers stay, as the
// benchmarks count them.
void read_texts(Record& record, const nlohmann::json& object, RecordUse use,
                const std::string& column = {});
// Takes blank captions out of the record and counts them; Error if all are blank.
void leave_out_blanks(Record& record);
// The value of "image_id", or `otherwise` if it is missing or null.
std::string image_id_of(const nlohmann::json& object, const std::string& otherwise);

// The value of "question_id", or "" if it is missing.
std::string question_id_of(const nlohmann::json& object);

}  // namespace blip2
