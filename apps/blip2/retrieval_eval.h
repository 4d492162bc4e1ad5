#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "blip2/data/records.h"

namespace blip2 {

// Recalls of a data file's captions among its pictures and the other way round: by contrast alone
// under "itc_only", and with the best `rerank` candidates re-ranked by matching.
nlohmann::ordered_json evaluate_retrieval(const std::string& model, const RecordFile& file,
                                          std::int64_t rerank);

}  // namespace blip2
