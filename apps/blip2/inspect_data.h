#pragma once

#include <string>

namespace blip2 {

struct InspectDataOptions {
  bool records = false;  // print each record as a JSON line instead of the summary
  bool json = false;
};

// Whether `source` names data, rather than a model or a file of weights or configuration.
bool is_data(const std::string& source);

// Prints what a data source holds: records, pictures, captions, questions, bad records, damage.
void inspect_data(const std::string& source, const InspectDataOptions& options);

}  // namespace blip2
