#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "blip2/model/config.h"

namespace blip2 {

// Reads the config.json of Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval and
// InstructBlipForConditionalGeneration, as transformers 4 and 5 write it. The prompts that this
// program adds when it converts a model are read too. Keys that change nothing are ignored. Error
// for another architecture (it lists the known ones), otherwise as read_blip2_config.
Blip2Config read_transformers_config(const nlohmann::json& object, const std::string& where);

// Writes the config.json of a config whose layout is not ModelLayout::own.
nlohmann::json write_transformers_config(const Blip2Config& config);

}  // namespace blip2
