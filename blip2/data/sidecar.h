#pragma once

#include <string>
#include <string_view>

#include "blip2/data/records.h"

namespace blip2 {

// Reads what lies beside a picture into its record: ".txt" is one caption, ".json" an object with
// the keys of a data file's line. Error (without a place) if it is malformed or lacks what `use`
// needs.
void read_sidecar(Record& record, std::string_view extension, const std::string& content,
                  RecordUse use);

}  // namespace blip2
