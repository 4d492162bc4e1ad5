#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace blip2 {

// What the servers of COCO captions and VQAv2 take: a JSON list of objects with an id and a text.
class ResultFile {
 public:
  // Nothing is kept or written without a path.
  ResultFile(std::string path, std::string id_key, std::string text_key);

  // Error if a wanted file would need the id of something that has none, or have an id twice; to be
  // called for everything before the first text is generated.
  void expect(const std::string& id, const std::string& what);
  void add(const std::string& id, const std::string& text);
  // Writes the file, complete or not at all.
  void write() const;

 private:
  std::string path_, id_key_, text_key_;
  std::set<std::string> expected_;
  nlohmann::ordered_json list_ = nlohmann::ordered_json::array();
};

// An id as data have it: of digits alone a number, else a text, without the reader's "coco:".
nlohmann::ordered_json id_value(const std::string& id);

}  // namespace blip2
