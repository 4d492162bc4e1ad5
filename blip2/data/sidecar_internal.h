#pragma once

#include <string>
#include <string_view>

#include "blip2/data/records.h"

namespace blip2 {

// Reads the content of a file beside a picture into the picture's record: ".txt" is one caption,
// ".json" an object with the keys of a data file's line. Error (without a place) if it is malformed
// or lacks what `use` needs. `column`: as for read_texts().
void read_sidecar(Record& record, std::string_view extension, std::string_view content,
                  RecordUse use, const std::string& column = {});

}  // namespace blip2
