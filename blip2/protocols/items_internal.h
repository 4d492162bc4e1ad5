#pragma once

#include <string>
#include <vector>

#include "blip2/protocols/parts_internal.h"

namespace blip2 {

// Reads lists whose entries are each a text or a picture: inputs of embeddings, queries, documents.
class ItemReader {
 public:
  ItemReader(const RequestLimits& limits, PartReader& reader) : limits_(limits), reader_(reader) {}

  // An entry: a string (a picture if it is a data: URI of one), {"content": …}, {"text": …},
  // {"image": …}, or a part as in a message.
  Part item(const nlohmann::json& value, const std::string& path);
  // One entry, a list of entries, or {"content": [parts]} with each part an entry; not empty.
  std::vector<Part> items(const nlohmann::json& value, const std::string& path);

 private:
  const RequestLimits& limits_;
  PartReader& reader_;
};

}  // namespace blip2
