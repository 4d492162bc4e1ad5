#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "blip2/model/config.h"

namespace blip2 {

// The config.json of Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval and
// InstructBlipForConditionalGeneration, as transformers 4 and 5 write it. The prompts that this
// program adds on converting are read back. Keys that change nothing are passed over. Error for
// another architecture (lists the known ones) and as read_blip2_config says.
Blip2Config read_transformers_config(const nlohmann::json& object, const std::string& where);

// For config.layout other than own.
nlohmann::json write_transformers_config(const Blip2Config& config);

}  // namespace blip2
