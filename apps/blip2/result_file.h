#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace blip2 {

// A result file for the servers of COCO captions and VQAv2: a JSON list of objects with an id and a
// text.
class ResultFile {
 public:
  // Without a path nothing is kept or written. Error if no file can be made there.
  ResultFile(std::string path, std::string id_key, std::string text_key);

  // Error if a file is to be written and the id is missing or comes twice. Call it for every result
  // before the first text is generated.
  void expect(const std::string& id, const std::string& what);
  void add(const std::string& id, const std::string& text);
  // Writes the file, complete or not at all.
  void write() const;

 private:
  std::string path_, id_key_, text_key_;
  std::set<std::string> expected_;
  nlohmann::ordered_json list_ = nlohmann::ordered_json::array();
};

// An id as the data has it, without the reader's "coco:": a number if it consists of digits,
// otherwise a text.
nlohmann::ordered_json id_value(const std::string& id);

}  // namespace blip2
