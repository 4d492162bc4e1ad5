#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace blip2 {

// One line of a data file: a picture with captions, or with a question and its answers.
struct Record {
  std::string image;                  // absolute path
  std::vector<std::string> captions;  // empty for a question
  std::string question;               // empty for captions
  std::vector<std::string> answers;   // may be empty where RecordUse::ask allows it
  std::string image_id;               // the line's "image_id", otherwise the path
  std::size_t line = 0;               // from 1

  bool is_question() const { return !question.empty(); }
};

struct BadRecord {
  std::size_t line;
  std::string what;  // expected and got, without the place
};

struct RecordFile {
  std::filesystem::path path;
  std::vector<Record> records;
  std::vector<BadRecord> bad;
};

// What a record must have besides its picture.
enum class RecordUse {
  train,    // captions, or a question and an answer
  ask,      // captions, or a question; answers may be missing
  pictures  // nothing
};

// How many bad records are borne: more than `share` of all lines is an error.
struct BadRecordPolicy {
  double share = 0.01;
  std::size_t listed = 5;  // so many are named in a message
};

// Reads a JSONL data file: {"image": "a.png", "caption": "…" or […]} or {"image", "question",
// "answer" or "answers"}, optional "image_id" (text or number); image paths are relative to the
// file's folder; other keys are ignored, as are blank lines. A line that is not such an object,
// lacks a field, or names a picture that is not there is listed in `bad`. Throws Error if the file
// cannot be read, has no good record, or more bad ones than the policy bears.
RecordFile read_records(const std::filesystem::path& path, RecordUse use = RecordUse::train,
                        const BadRecordPolicy& policy = {});

// Takes the records of pictures that turned out to be unreadable (path -> what is wrong) into `bad`
// and applies the policy again.
void drop_pictures(RecordFile& file, const std::map<std::string, std::string>& unreadable,
                   const BadRecordPolicy& policy = {});

// "3 of 200 records are bad: data.jsonl:7: …; data.jsonl:9: …", empty if none is.
std::string describe_bad_records(const RecordFile& file, std::size_t listed = 5);

}  // namespace blip2
