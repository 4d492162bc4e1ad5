#include "blip2/recipe/recipe.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "blip2/base/error.h"
#include "blip2/data/data_source.h"
#include "blip2/io/hub_cache.h"
#include "blip2/io/toml.h"
#include "blip2/qformer/config.h"

namespace blip2 {
namespace {

// A value as TOML writes it; what is not TOML is taken as a bare string.
nlohmann::json parse_setting_value(const std::string& text) {
  try {
    return parse_toml("value = " + text, "--set").at("value");
  } catch (const Error&) {
    return text;
  }
}

void apply_setting(nlohmann::json& recipe, const std::string& setting) {
  const auto equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(fmt::format("expected key=value, got '{}'", setting), "--set");
  }
  nlohmann::json* place = &recipe;
  std::istringstream keys(setting.substr(0, equals));
  for (std::string key; std::getline(keys, key, '.');) {
    if (place->is_null()) *place = nlohmann::json::object();
    if (!place->is_object()) throw Error(fmt::format("'{}' is not a table", setting), "--set");
    place = &(*place)[key];
  }
  *place = parse_setting_value(setting.substr(equals + 1));
}

void resolve(std::string& path, const std::filesystem::path& folder) {
  if (!path.empty()) path = (folder / path).lexically_normal().string();
}

std::string find_init(const std::string& name, const std::filesystem::path& folder,
                      const std::string& where) {
  try {
    return find_model(name, folder).string();
  } catch (const Error& error) {
    throw error.within(where + ": init");
  }
}

// Makes the paths of a recipe that is still JSON absolute to `folder`.
void resolve_paths(nlohmann::json& recipe, const std::filesystem::path& folder,
                   const std::string& where) {
  const auto each = [&](nlohmann::json& value, bool is_data) {
    if (!value.is_string()) return;
    std::string path = value.get<std::string>();
    if (is_data) {
      path = resolve_data_source(path, folder);
    } else {
      resolve(path, folder);
    }
    value = path;
  };
  if (!recipe.is_object()) return;
  if (recipe.contains("init") && recipe["init"].is_string() && recipe["init"] != "") {
    recipe["init"] = find_init(recipe["init"].get<std::string>(), folder, where);
  }
  if (!recipe.contains("data") || !recipe["data"].is_object()) return;
  for (const char* key : {"train", "validation", "cache"}) {
    if (!recipe["data"].contains(key)) continue;
    nlohmann::json& value = recipe["data"][key];
    const bool is_data = key != std::string_view("cache");
    if (value.is_array()) {
      for (auto& item : value) each(item, is_data);
    } else {
      each(value, is_data);
    }
  }
}

void require(bool holds, const std::string& where, const std::string& key,
             const std::string& expected, const std::string& got) {
  if (!holds) {
    throw Error(fmt::format("expected {}, got {}", expected, got),
                fmt::format("{}: {}", where, key));
  }
}

template <typename T>
void require_range(T value, double low, double high, const std::string& where,
                   const std::string& key) {
  require(value >= low && value <= high, where, key, fmt::format("a number in [{}, {}]", low, high),
          fmt::format("{}", value));
}

void validate_data(const Recipe& recipe, const std::string& where) {
  const DataRecipe& data = recipe.data;
  require(!data.train.empty(), where, "data.train", "at least one data file", "none");
  require(data.weights.empty() || data.weights.size() == data.train.size(), where, "data.weights",
          fmt::format("one weight for each of the {} train files", data.train.size()),
          fmt::format("{}", data.weights.size()));
  for (double weight : data.weights) require_range(weight, 1e-6, 1e6, where, "data.weights");
  require_range(data.views, 0, 1000, where, "data.views");
  require(data.source_views.empty() || data.source_views.size() == data.train.size(), where,
          "data.source_views", fmt::format("none or {} numbers", data.train.size()),
          fmt::format("{}", data.source_views.size()));
  require(data.source_views.empty() || (data.views == 0 && data.features == "cached"), where,
          "data.source_views", "data.features = cached and no data.views beside it", "both");
  for (const std::int64_t views : data.source_views) {
    require_range(static_cast<double>(views), 0, 1000, where, "data.source_views");
  }
  require_range(data.max_text_tokens, 3, 4096, where, "data.max_text_tokens");
  require_range(data.bad_share, 0, 1, where, "data.bad_share");
  require(data.feature_type == "bf16" || data.feature_type == "f32", where, "data.feature_type",
          "bf16 or f32", data.feature_type);
  require(data.features == "cached" || data.features == "live", where, "data.features",
          "cached or live", data.features);
}

void validate_optimizer(const Recipe& recipe, const std::string& where) {
  const OptimizerRecipe& optimizer = recipe.optimizer;
  require_range(optimizer.lr, 0, 1, where, "optimizer.lr");
  require_range(optimizer.weight_decay, 0, 10, where, "optimizer.weight_decay");
  require_range(optimizer.beta1, 0, 0.9999999, where, "optimizer.beta1");
  require_range(optimizer.beta2, 0, 0.9999999, where, "optimizer.beta2");
  require_range(optimizer.eps, 1e-16, 1, where, "optimizer.eps");
  require_range(optimizer.clip, 0, 1e6, where, "optimizer.clip");
  require_range(recipe.schedule.warmup_steps, 0, 1e9, where, "schedule.warmup_steps");
  require_range(recipe.schedule.min_lr, 0, optimizer.lr, where, "schedule.min_lr");
}

void validate_image_encoder(const Recipe& recipe, const std::string& where) {
  const ImageEncoderRecipe& encoder = recipe.image_encoder;
  require_range(encoder.layer_decay, 0.01, 1, where, "image_encoder.layer_decay");
  require_range(encoder.drop_path, 0, 0.95, where, "image_encoder.drop_path");
  require_range(encoder.image_size, 0, 8192, where, "image_encoder.image_size");
  require_range(encoder.max_num_patches, 0, 16384, where, "image_encoder.max_num_patches");
  require(encoder.train || encoder == ImageEncoderRecipe{}, where, "image_encoder.train",
          "true with other keys of image_encoder", "false");
  require(!encoder.train || recipe.data.features == "live", where, "data.features",
          "live with image_encoder.train: features change with every step", recipe.data.features);
}

void validate_language(const Recipe& recipe, const std::string& where) {
  const LanguageRecipe& language = recipe.language;
  require_range(language.lora_rank, 0, 4096, where, "language.lora_rank");
  require_range(language.lora_alpha, 1e-6, 1e6, where, "language.lora_alpha");
  require_range(language.lora_dropout, 0, 0.95, where, "language.lora_dropout");
  require(language.lora_rank > 0 || language == LanguageRecipe{}, where, "language.lora_rank",
          "a number above 0 with other keys of language", "0");
  require(language.lora_rank == 0 || recipe.stage == 2, where, "language.lora_rank",
          "0 in stage 1, which does not run the language model",
          std::to_string(language.lora_rank));
}

// Whether there is one in every step.
bool validate_stage1_objectives(const ObjectivesRecipe& recipe, const std::string& where) {
  bool always = false;
  for (const ObjectiveSchedule& objective : kStage1Schedules) {
    require_range(recipe.*objective.weight, 0, 1e6, where, "objectives");
    const std::string key = std::string("objectives.") + objective.name;
    const std::int64_t from = objective.from ? recipe.*objective.from : 0,
                       every = objective.every ? recipe.*objective.every : 1;
    require_range(from, 0, 1e9, where, key + "_from");
    require_range(every, 1, 1e9, where, key + "_every");
    always = always || (recipe.*objective.weight > 0 && from == 0 && every == 1);
  }
  return always;
}

// The objectives' own numbers, and whether a stage is left with none.
void validate_objectives(const Recipe& recipe, const std::string& where) {
  const ObjectivesRecipe& o = recipe.objectives;
  for (double weight : {o.lm, o.prefix_lm, o.cmlm, o.words, o.contrast}) {
    require_range(weight, 0, 1e6, where, "objectives");
  }
  const bool stage1 = validate_stage1_objectives(o, where);
  require_range(o.label_smoothing, 0, 0.99, where, "objectives.label_smoothing");
  require_range(o.mlm_share, 0.001, 1, where, "objectives.mlm_share");
  require_range(o.mrm_share, 0.001, 0.99, where, "objectives.mrm_share");
  require_range(o.mlm_ways, 1, 1000, where, "objectives.mlm_ways");
  require_range(o.lm_from, 0, 1e9, where, "objectives.lm_from");
  require_range(o.words_sharpness, 0.1, 1000, where, "objectives.words_sharpness");
  require_range(o.words_lead, 0, 1000, where, "objectives.words_lead");
  require(o.lm_from == 0 || o.words > 0, where, "objectives.words", "a weight above 0 with lm_from",
          "0");
  require(recipe.stage == 2 || stage1, where, "objectives",
          "an objective of stage 1 with a weight above 0 in every step, from the first step on",
          "none");
  require(recipe.stage == 1 || o.lm + o.prefix_lm + o.cmlm > 0, where, "objectives",
          "a weight above 0 of lm, prefix_lm or cmlm", "none");
  if (recipe.stage == 1) return;
  require(o.cmlm == 0 || recipe.prompt.to_qformer, where, "prompt.to_qformer",
          "true with objectives.cmlm, whose instruction the Q-Former reads", "false");
  require(!o.alternate || o.words == 0, where, "objectives.alternate",
          "no objectives.words beside it", "both");
}

}  // namespace

void validate_recipe(const Recipe& recipe, const std::string& where) {
  require(recipe.stage == 1 || recipe.stage == 2, where, "stage", "1 or 2",
          fmt::format("{}", recipe.stage));
  require(!recipe.init.empty(), where, "init", "a model directory", "nothing");
  require_range(recipe.steps, 1, 1e9, where, "steps");
  require_range(recipe.batch_size, 1, 65536, where, "batch_size");
  require_range(recipe.accumulate, 1, 65536, where, "accumulate");
  require(recipe.batch_size % recipe.accumulate == 0, where, "accumulate",
          fmt::format("a divisor of batch_size {}", recipe.batch_size),
          std::to_string(recipe.accumulate));
  require_range(recipe.seed, 0, 9e18, where, "seed");
  require_range(recipe.log_every, 1, 1e9, where, "log_every");
  require_range(recipe.dropout, 0, 0.9, where, "dropout");
  require_range(recipe.augmentation.min_scale, 0.01, 1, where, "augmentation.min_scale");
  require_range(recipe.augmentation.flip, 0, 1, where, "augmentation.flip");
  require_range(recipe.checkpoint.every, 1, 1e9, where, "checkpoint.every");
  require_range(recipe.checkpoint.keep, 1, 1e6, where, "checkpoint.keep");
  const std::string& precision = recipe.precision;
  require(precision == "auto" || precision == "bf16" || precision == "f32", where, "precision",
          "auto, bf16 or f32", precision);
  const std::string& language = recipe.language_weights;
  require(language == "auto" || language == "int8" || language == "stored", where,
          "language_weights", "auto, int8 or stored", language);
  require(language == "auto" || recipe.stage == 2, where, "language_weights",
          "auto in stage 1, which does not read the language model", language);
  if (!recipe.encoder_reads.empty()) {
    check_encoder_reads(recipe.encoder_reads, where + ": encoder_reads");
  }
  require(recipe.prompt.question.find("{}") != std::string::npos, where, "prompt.question",
          "a template that holds {} for the question", recipe.prompt.question);
  validate_objectives(recipe, where);
  validate_data(recipe, where);
  validate_image_encoder(recipe, where);
  validate_language(recipe, where);
  validate_optimizer(recipe, where);
}

Recipe load_recipe(const std::filesystem::path& path, std::span<const std::string> settings) {
  nlohmann::json merged = read_toml(path);
  resolve_paths(merged, std::filesystem::absolute(path).parent_path(), path.string());
  nlohmann::json changes = nlohmann::json::object();
  for (const std::string& setting : settings) apply_setting(changes, setting);
  resolve_paths(changes, std::filesystem::current_path(), "--set");
  merged.merge_patch(changes);
  Recipe recipe;
  recipe.file = path.string();
  read_fields(recipe, merged, path.string());
  validate_recipe(recipe, path.string());
  return recipe;
}

}  // namespace blip2
