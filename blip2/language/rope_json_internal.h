#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "blip2/language/config_keys_internal.h"
#include "blip2/language/decoder_families_internal.h"

namespace blip2 {

// Reads how `config`'s queries and keys rotate, from rope_parameters (transformers 5) or
// rope_scaling with rope_theta beside it: rope, local_rope, rotary_dim, query_scale. The sizes have
// been read; the row's defaults stand where nothing is said. Error for a kind that is not known
// here, naming key and kind.
void read_ropes(const ConfigTable& keys, const DecoderFamilyRow& row, DecoderConfig& config);

// Adds the keys that transformers reads.
void add_ropes(const DecoderConfig& config, const DecoderFamilyRow& row, nlohmann::json& object);

// transformers' default for what longrope multiplies cosines and sines by (arXiv 2402.13753).
double long_rope_attention_factor(double factor, double original);
// The same of yarn for one of its two scales (arXiv 2309.00071).
double yarn_attention_scale(double factor, double mscale = 1.0);

}  // namespace blip2
