#pragma once

#include <string>
#include <vector>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/request_json_internal.h"

// Texts and pictures of a request's messages, inputs and documents.
namespace blip2 {

// Reads the parts of one request and counts them. Refers to the limits.
class PartReader {
 public:
  // `most_pictures`: in this request.
  PartReader(const RequestLimits& limits, std::size_t most_pictures)
      : limits_(limits),
        budget_(limits.max_text),
        pictures_left_(most_pictures),
        most_(most_pictures) {}

  Part text(const std::string& text, const std::string& path);
  // A picture given as data: URI, base64, https:// or file:// URL.
  Part picture(const std::string& source, const std::string& path);
  // A string, or a list of {"type": "text", …} and {"type": "image_url", …}; not empty.
  std::vector<Part> content(const nlohmann::json& value, const std::string& path);
  // One of them.
  Part part(const nlohmann::json& value, const std::string& path);

 private:
  Part image_url(const Members& part);

  const RequestLimits& limits_;
  TextBudget budget_;
  std::size_t pictures_left_, most_;
};

// One text (the texts of the parts, joined by line breaks) or one picture. 400 if there are two
// pictures, or both.
Part single_part(std::vector<Part> parts, const std::string& path);

// Whether the parts hold a picture, or a text that is more than white space.
bool says_something(const std::vector<Part>& parts);

}  // namespace blip2
