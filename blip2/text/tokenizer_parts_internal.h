#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// Read and write the parts of a tokenizer.json around the model. Reading throws Error naming
// `where` if a part is malformed or not supported.
std::vector<NormalizerStep> read_normalizer_steps(const nlohmann::json& value,
                                                  const std::string& where);
// Reads the pre_tokenizer of a CharacterPairModel or UnigramModel.
SpaceSplit read_space_split(const nlohmann::json& value, const std::string& where);
// Reads the pre_tokenizer of a BytePairModel.
void read_byte_level(const nlohmann::json& value, BytePairModel& model, const std::string& where);
// Whether the pre_tokenizer works on bytes.
bool is_byte_level(const nlohmann::json& value, const std::string& where);
std::vector<DecoderStep> read_decoder_steps(const nlohmann::json& value, const std::string& where);

nlohmann::ordered_json write_normalizer_steps(const std::vector<NormalizerStep>& steps);
nlohmann::ordered_json write_space_split(const SpaceSplit& split);
nlohmann::ordered_json write_byte_level(const BytePairModel& model);
nlohmann::ordered_json write_decoder_steps(const std::vector<DecoderStep>& steps);

[[noreturn]] void refuse_part(const std::string& what, const nlohmann::json& value,
                              const std::string& where, const std::string& supported);
// The part's "type", or "" for null.
std::string type_of_part(const nlohmann::json& value, const std::string& where);

}  // namespace blip2
