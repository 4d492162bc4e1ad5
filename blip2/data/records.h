#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "blip2/io/question_kinds.h"

namespace blip2 {

// A picture with captions, or with a question and its answers.
struct Record {
  std::string image;                  // absolute path, or a place in a tar shard (TarPlace)
  std::vector<std::string> captions;  // empty for a question
  std::vector<std::string> keywords;  // what else is to be seen, for eval's hits; mostly none
  std::string question;               // empty for captions
  // May be empty where RecordUse::ask allows it. Blank ones among others are kept, as VQAv2's
  // script counts them.
  std::vector<std::string> answers;
  std::string image_id;     // as the data say it, otherwise as `image`
  std::string question_id;  // as the data say it; empty if they do not
  QuestionKinds kinds;      // of the question or the picture, where the data say some
  std::size_t line = 0;     // of the file, entry of the list, or sample; from 1
  std::size_t blanks = 0;   // captions that were blank and are left out

  bool is_question() const { return !question.empty(); }
};

struct BadRecord {
  std::size_t line;
  std::string what;        // expected and got, without the place
  std::string where = {};  // file and place; empty: the data file's line
};

struct RecordFile {
  std::filesystem::path path;
  std::vector<Record> records;
  std::vector<BadRecord> bad;
  std::vector<std::string> damage = {};  // to whole files: "shard-3.tar is cut off at byte …"
  std::vector<std::string> passed_over = {};  // what no record has: "2 texts without a picture: …"
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

// Reads the records of a data source, "[kind:]path[?option=value&…]": see data_source.h for the
// kinds and docs/data.md for what each reads. A record that is malformed, lacks a field, or names a
// picture that is not there is listed in `bad`. Throws Error if a file cannot be read, there is no
// good record, or more bad ones than the policy bears.
RecordFile read_records(const std::string& source, RecordUse use = RecordUse::train,
                        const BadRecordPolicy& policy = {});

// Takes the records of pictures that turned out to be unreadable (image -> what is wrong) into
// `bad` and applies the policy again.
void drop_pictures(RecordFile& file, const std::map<std::string, std::string>& unreadable,
                   const BadRecordPolicy& policy = {});

// "3 of 200 records are bad: data.jsonl:7: …; data.jsonl:9: …", how many blank captions are left
// out, what is damaged and what is passed over; empty if nothing is.
std::string describe_bad_records(const RecordFile& file, std::size_t listed = 5);

// "file:line" of a bad record, or its own place.
std::string place_of(const RecordFile& file, const BadRecord& bad);

// The first text that is not blank; Error if none is.
const std::string& first_text(const std::vector<std::string>& texts);

}  // namespace blip2
