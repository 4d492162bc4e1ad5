#include "blip2/language/rope_json_internal.h"

#include <fmt/format.h>

#include <cmath>

namespace blip2 {
namespace {

using nlohmann::json;

// What the kinds of scaling need beside their own table.
struct Lengths {
  double most;      // max_position_embeddings
  double original;  // given beside the table; 0: the table says, or it is `most`
};

double read_original(const ConfigTable& keys, const Lengths& lengths) {
  double original = lengths.most;
  keys.read("original_max_position_embeddings", original);
  if (lengths.original > 0) original = lengths.original;
  need(original >= 1 && original <= 1e9,
       fmt::format("original_max_position_embeddings: expected 1 or more, got {}", original),
       keys.where());
  return original;
}

double read_factor(const ConfigTable& keys, double missing) {
  double factor = missing;
  keys.read_positive("factor", factor);
  return factor;
}

// Keys that transformers requires beside the kind.
void require_keys(const ConfigTable& keys, const char* kind,
                  std::initializer_list<const char*> required) {
  for (const char* key : required) keys.require(key, fmt::format("rope_type {} needs it", kind));
}

Llama3Rope read_llama3(const ConfigTable& keys, const Lengths& lengths) {
  require_keys(keys, "llama3", {"factor", "low_freq_factor", "high_freq_factor"});
  Llama3Rope rope;
  keys.read("factor", rope.factor);
  need(rope.factor >= 1, fmt::format("factor: expected 1 or more, got {}", rope.factor),
       keys.where());
  keys.read_positive("low_freq_factor", rope.low_freq_factor);
  keys.read("high_freq_factor", rope.high_freq_factor);
  need(rope.high_freq_factor > rope.low_freq_factor,
       fmt::format("high_freq_factor: expected more than low_freq_factor, {}, got {}",
                   rope.low_freq_factor, rope.high_freq_factor),
       keys.where());
  rope.original_max_position_embeddings = read_original(keys, lengths);
  return rope;
}

YarnRope read_yarn(const ConfigTable& keys, const Lengths& lengths) {
  if (!keys.object().contains("factor")) require_keys(keys, "yarn", {"factor"});  // may be null
  YarnRope rope;
  rope.original_max_position_embeddings = read_original(keys, lengths);
  rope.factor = read_factor(keys, lengths.most / rope.original_max_position_embeddings);
  keys.read_positive("beta_fast", rope.beta_fast);
  keys.read_positive("beta_slow", rope.beta_slow);
  keys.read("truncate", rope.truncate);
  double mscale = 0, all = 0;
  keys.read("mscale", mscale);
  keys.read("mscale_all_dim", all);
  rope.attention_factor = yarn_attention_scale(rope.factor);
  if (mscale != 0 && all != 0) {
    rope.attention_factor =
        yarn_attention_scale(rope.factor, mscale) / yarn_attention_scale(rope.factor, all);
  }
  keys.read_positive("attention_factor", rope.attention_factor);
  return rope;
}

std::vector<double> read_factors(const ConfigTable& keys, const char* key, std::int64_t count) {
  std::vector<double> factors;
  keys.read_list(key, factors);
  need(std::ssize(factors) == count,
       fmt::format("{}: expected {} factors, one for two of the numbers that rotate, got {}", key,
                   count, factors.size()),
       keys.where());
  for (const double factor : factors) {
    need(factor > 0 && std::isfinite(factor),
         fmt::format("{}: expected positive numbers, got {}", key, factor), keys.where());
  }
  return factors;
}

LongRope read_long(const ConfigTable& keys, const Lengths& lengths, std::int64_t half) {
  LongRope rope;
  rope.short_factor = read_factors(keys, "short_factor", half);
  rope.long_factor = read_factors(keys, "long_factor", half);
  const double original = read_original(keys, lengths);
  rope.original_max_position_embeddings = static_cast<std::int64_t>(original);
  const double factor = read_factor(keys, lengths.most / original);
  rope.attention_factor = long_rope_attention_factor(factor, original);
  keys.read_positive("attention_factor", rope.attention_factor);
  return rope;
}

// rope_theta has the default of the family, or what stands beside the table.
Rope read_rope(const ConfigTable& keys, double theta, const Lengths& lengths, std::int64_t half) {
  Rope rope{theta};
  keys.read_positive("rope_theta", rope.theta);
  std::string type = "default";
  keys.read("type", type);
  keys.read("rope_type", type);
  // Phi-3's first files have other names for it.
  const bool is_long = type == "su" || (type == "yarn" && keys.has("short_factor"));
  if (type == "linear") {
    require_keys(keys, "linear", {"factor"});
    rope.scaling = LinearRope{read_factor(keys, 1.0)};
  } else if (type == "llama3") {
    rope.scaling = read_llama3(keys, lengths);
  } else if (type == "longrope" || is_long) {
    rope.scaling = read_long(keys, lengths, half);
  } else if (type == "yarn") {
    rope.scaling = read_yarn(keys, lengths);
  } else if (type != "default") {
    throw Error(fmt::format("rope_type '{}' is not known here", type), keys.where(),
                "known: default, linear, llama3, yarn, longrope");
  }
  return rope;
}

// The numbers of a head that rotate.
void read_rotated(const ConfigTable& keys, const ConfigTable& table, const DecoderFamilyRow& row,
                  DecoderConfig& c) {
  double share = 1.0;
  keys.read("partial_rotary_factor", share);
  table.read("partial_rotary_factor", share);
  need(row.partial_rotary ? share > 0 && share <= 1 : share == 1,
       fmt::format("partial_rotary_factor: expected {}, got {}",
                   row.partial_rotary ? "more than 0 and at most 1" : "1", share),
       table.where());
  if (share == 1) return;
  c.rotary_dim = static_cast<std::int64_t>(static_cast<double>(c.head_dim) * share);
  need(c.rotary_dim > 0 && c.rotary_dim % 2 == 0,
       fmt::format("partial_rotary_factor: expected an even number of a head's {} numbers, got {}",
                   c.head_dim, c.rotary_dim),
       table.where());
}

void read_query_scale(const ConfigTable& table, const Lengths& lengths, DecoderConfig& c) {
  c.query_scale = {};
  table.read("llama_4_scaling_beta", c.query_scale.beta);
  if (c.query_scale.beta == 0) return;
  c.query_scale.length = static_cast<std::int64_t>(read_original(table, lengths));
}

json scaling_json(const std::monostate& /*none*/) {
  return json::object({{"rope_type", "default"}});
}
json scaling_json(const LinearRope& rope) {
  return {{"rope_type", "linear"}, {"factor", rope.factor}};
}
json scaling_json(const Llama3Rope& rope) {
  return {{"rope_type", "llama3"},
          {"factor", rope.factor},
          {"low_freq_factor", rope.low_freq_factor},
          {"high_freq_factor", rope.high_freq_factor},
          {"original_max_position_embeddings",
           static_cast<std::int64_t>(rope.original_max_position_embeddings)}};
}
json scaling_json(const YarnRope& rope) {
  return {{"rope_type", "yarn"},
          {"factor", rope.factor},
          {"beta_fast", rope.beta_fast},
          {"beta_slow", rope.beta_slow},
          {"attention_factor", rope.attention_factor},
          {"truncate", rope.truncate},
          {"original_max_position_embeddings",
           static_cast<std::int64_t>(rope.original_max_position_embeddings)}};
}
json scaling_json(const LongRope& rope) {
  return {{"rope_type", "longrope"},
          {"short_factor", rope.short_factor},
          {"long_factor", rope.long_factor},
          {"attention_factor", rope.attention_factor},
          {"original_max_position_embeddings", rope.original_max_position_embeddings}};
}

json rope_json(const Rope& rope) {
  json table = std::visit([](const auto& scaling) { return scaling_json(scaling); }, rope.scaling);
  table["rope_theta"] = rope.theta;
  return table;
}

// The share that makes as many whole numbers of a head.
double share_of(const DecoderConfig& c) {
  const auto dim = static_cast<double>(c.head_dim);
  double share = static_cast<double>(c.rotated()) / dim;
  while (static_cast<std::int64_t>(dim * share) < c.rotated()) share = std::nextafter(share, 2.0);
  return share;
}

}  // namespace

double long_rope_attention_factor(double factor, double original) {
  return factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
}

double yarn_attention_scale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void read_ropes(const ConfigTable& keys, const DecoderFamilyRow& row, DecoderConfig& c) {
  json table = keys.table("rope_parameters");
  std::string place = keys.where() + ": rope_parameters";
  const json local = ConfigTable(table, place).table("sliding_attention");
  const json full = ConfigTable(table, place).table("full_attention");
  if (c.local_rope) table = full;
  need(c.local_rope || (full.empty() && local.empty()),
       fmt::format("model_type {} has one table for all layers, got some by layer_types", row.name),
       place);
  if (const json scaling = keys.table("rope_scaling"); !scaling.empty()) {
    table.update(scaling);
    place = keys.where() + ": rope_scaling";
  }
  Lengths lengths{static_cast<double>(c.max_position_embeddings),
                  static_cast<double>(row.original_positions)};
  if (keys.has("original_max_position_embeddings")) {
    keys.read_positive("original_max_position_embeddings", lengths.original);
  }
  const ConfigTable inner(table, place);
  read_rotated(keys, inner, row, c);
  double theta = c.rope.theta;
  keys.read_positive("rope_theta", theta);
  const bool usual = table.empty() && c.rope.scaling.index() != 0;  // the family's own scaling
  c.rope = usual ? Rope{theta, c.rope.scaling} : read_rope(inner, theta, lengths, c.rotated() / 2);
  if (row.query_scale && !usual) read_query_scale(inner, lengths, c);
  if (!c.local_rope) return;
  double local_theta = c.local_rope->theta;
  keys.read_positive("rope_local_base_freq", local_theta);
  const ConfigTable sliding(local, place + ": sliding_attention");
  c.local_rope = read_rope(sliding, local_theta, lengths, c.rotated() / 2);
  need(!std::holds_alternative<LongRope>(c.local_rope->scaling),
       "rope_type: longrope is not supported for sliding layers alone", sliding.where());
}

void add_ropes(const DecoderConfig& c, const DecoderFamilyRow& row, json& object) {
  json table = rope_json(c.rope);
  if (row.partial_rotary) {
    table["partial_rotary_factor"] = object["partial_rotary_factor"] = share_of(c);
  }
  if (row.query_scale && c.query_scale.beta != 0) {
    table["llama_4_scaling_beta"] = c.query_scale.beta;
    table["original_max_position_embeddings"] = c.query_scale.length;
  }
  if (row.original_positions > 0) {
    const auto given = table.find("original_max_position_embeddings");
    object["original_max_position_embeddings"] =
        given == table.end() ? json(row.original_positions) : *given;
  }
  if (c.local_rope) {
    object["rope_parameters"] = {{"full_attention", std::move(table)},
                                 {"sliding_attention", rope_json(*c.local_rope)}};
    return;
  }
  object["rope_theta"] = c.rope.theta;
  object["rope_parameters"] = std::move(table);
}

}  // namespace blip2
