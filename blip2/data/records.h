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
  std::vector<std::string>
      keywords;          // further names of what is shown, for eval's hits; mostly empty
  std::string question;  // empty for captions
  // May be empty where RecordUse::ask allows it. Blank answers are kept beside others, as VQAv2's
  // script counts them.
  std::vector<std::string> answers;
  std::string image_id;     // as the data has it, otherwise `image`
  std::string question_id;  // as the data has it, otherwise empty
  QuestionKinds kinds;      // the kinds of the question or the picture, if the data has any
  std::size_t line = 0;     // number of the line, list entry or sample; from 1
  std::size_t blanks = 0;   // number of blank captions that were left out

  bool is_question() const { return !question.empty(); }
};

struct BadRecord {
  std::size_t line;
  std::string what;        // what was expected and what was there, without the place
  std::string where = {};  // file and place; "": the line of the data file
};

struct RecordFile {
  std::filesystem::path path;
  std::vector<Record> records;
  std::vector<BadRecord> bad;
  std::vector<std::string> damage =
      {};  // damage to whole files: "shard-3.tar is cut off at byte …"
  std::vector<std::string> passed_over =
      {};  // data that is in no record: "2 texts without a picture: …"
};

// What a record must have besides its picture.
enum class RecordUse {
  train,    // captions, or a question and an answer
  ask,      // captions, or a question; answers may be missing
  pictures  // nothing
};

// How many bad records are allowed: more than `share` of all lines is an error.
struct BadRecordPolicy {
  double share = 0.01;
  std::size_t listed = 5;  // how many of the bad records a message names
};

// Reads the records of a data source, "[kind:]path[?option=value&…]": see data_source.h for the
// kinds and docs/data.md for what each reads. A record that is malformed, lacks a field, or names a
// picture that is not there is listed in `bad`. Throws Error if a file cannot be read, there is no
// good record, or there are more bad records than the policy allows. Several threads may call the
// functions of this header at once, unless they change the same RecordFile.
RecordFile read_records(const std::string& source, RecordUse use = RecordUse::train,
                        const BadRecordPolicy& policy = {});

// Moves the records whose pictures turned out to be unreadable (image -> reason) to `bad` and
// applies the policy again.
void drop_pictures(RecordFile& file, const std::map<std::string, std::string>& unreadable,
                   const BadRecordPolicy& policy = {});

// "3 of 200 records are bad: data.jsonl:7: …; data.jsonl:9: …", then how many blank captions were
// left out, what is damaged and what was passed over; "" if there is nothing to report.
std::string describe_bad_records(const RecordFile& file, std::size_t listed = 5);

// The place of a bad record: its `where`, or else "file:line".
std::string place_of(const RecordFile& file, const BadRecord& bad);

// The first text that is not blank; Error if all are blank.
const std::string& first_text(const std::vector<std::string>& texts);

}  // namespace blip2
