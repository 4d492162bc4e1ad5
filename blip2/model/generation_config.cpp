#include "blip2/model/generation_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/log.h"
#include "blip2/base/nearest.h"
#include "blip2/io/fields.h"
#include "blip2/io/json.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kLoopGuard = 3;  // no_repeat_ngram_size of models trained here

// Keys that change texts and that this program does not have, with the values under which they
// change nothing; null never does.
const std::map<std::string_view, json>& foreign_keys() {
  static const std::map<std::string_view, json> keys{
      {"max_length", 20},  // transformers' default, which max_new_tokens overrides
      {"min_length", 0},
      {"max_time", nullptr},
      {"stop_strings", json::array()},
      {"min_p", 0},
      {"top_h", 1},
      {"typical_p", 1},
      {"epsilon_cutoff", 0},
      {"eta_cutoff", 0},
      {"encoder_repetition_penalty", 1},
      {"encoder_no_repeat_ngram_size", 0},
      {"bad_words_ids", json::array()},
      {"renormalize_logits", false},
      {"forced_bos_token_id", nullptr},
      {"forced_eos_token_id", nullptr},
      {"exponential_decay_length_penalty", nullptr},
      {"suppress_tokens", json::array()},
      {"begin_suppress_tokens", json::array()},
      {"sequence_bias", json::object()},
      {"token_healing", false},
      {"guidance_scale", 1},
      {"watermarking_config", nullptr},
      {"penalty_alpha", 0},
      {"dola_layers", nullptr},
      {"diversity_penalty", 0},
      {"num_beam_groups", 1},
      {"constraints", nullptr},
      {"force_words_ids", nullptr}};
  return keys;
}

// Keys that change no text, or that are read elsewhere.
constexpr auto kSilentKeys = std::to_array<std::string_view>({"_from_model_config",
                                                              "transformers_version",
                                                              "bos_token_id",
                                                              "eos_token_id",
                                                              "pad_token_id",
                                                              "decoder_start_token_id",
                                                              "use_cache",
                                                              "cache_implementation",
                                                              "cache_config",
                                                              "max_cache_len",
                                                              "output_attentions",
                                                              "output_hidden_states",
                                                              "output_scores",
                                                              "output_logits",
                                                              "return_dict_in_generate",
                                                              "remove_invalid_values",
                                                              "low_memory",
                                                              "use_mtp",
                                                              "is_assistant",
                                                              "num_assistant_tokens",
                                                              "num_assistant_tokens_schedule",
                                                              "assistant_confidence_threshold",
                                                              "prompt_lookup_num_tokens",
                                                              "max_matching_ngram_size",
                                                              "assistant_early_exit",
                                                              "assistant_lookbehind",
                                                              "target_lookbehind",
                                                              "assistant_ensemble_weight",
                                                              "speculation_type",
                                                              "compile_config",
                                                              "disable_compile",
                                                              "continuous_batching_config",
                                                              "prefill_chunk_size"});

// transformers' name of an option; empty for what GenerationConfig does not have.
std::string_view file_key(std::string_view option) {
  if (option == "beams") return "num_beams";
  if (option == "return_sequences") return "num_return_sequences";
  if (option == "sample") return "do_sample";
  if (option == "seed") return {};
  return option;
}

json read_file_of(const fs::path& folder) {
  const fs::path path = folder / kGenerationConfig;
  if (!fs::exists(path)) return json::object();
  json file = read_json(path);
  if (!file.is_object()) throw Error("expected a table of keys", path.string());
  return file;
}

bool has(const json& file, std::string_view key) {
  const auto found = file.find(key);
  return found != file.end() && !found->is_null();
}

// early_stopping is a boolean or "never" there, a word here.
json as_option(std::string_view option, const json& value) {
  if (option != "early_stopping" || !value.is_boolean()) return value;
  return value.get<bool>() ? "true" : "false";
}

// Error if the value of one option is out of range, whatever the other options are.
void check_alone(std::string_view option, const json& value, const std::string& where) {
  GenerationOptions alone;
  alone.beams = 1024;
  alone.max_new_tokens = std::numeric_limits<std::int64_t>::max();
  GenerationOptions::fields(alone, [&](std::string_view name, auto& field, auto) {
    if (name == option) read_value(field, value, where);
  });
  try {
    validate(alone);
  } catch (const Error& error) {
    throw error.within(where);
  }
}

// The options with the file's settings; options that it does not set have their defaults.
// `validate` later refuses settings that contradict another option, also one from the command line.
GenerationOptions read_options(const json& file, const std::string& where) {
  GenerationOptions options;
  GenerationOptions::fields(options, [&](std::string_view option, auto& field, auto) {
    const std::string key(file_key(option));
    if (key.empty() || !has(file, key)) return;
    const json value = as_option(option, file[key]);
    check_alone(option, value, where + ": " + key);
    read_value(field, value, where + ": " + key);
  });
  return options;
}

std::vector<std::string> option_keys() {
  std::vector<std::string> keys;
  const GenerationOptions options;
  GenerationOptions::fields(options, [&](std::string_view option, const auto&, auto) {
    if (const auto key = file_key(option); !key.empty()) keys.emplace_back(key);
  });
  return keys;
}

// What the file asks for and does not get, as a list for people.
std::vector<std::string> not_followed(const json& file) {
  const std::vector<std::string> known = option_keys();
  std::vector<std::string> missed;
  for (const auto& [key, value] : file.items()) {
    const auto is_key = [&](std::string_view name) { return name == key; };
    if (value.is_null() || std::ranges::any_of(known, is_key)) continue;
    if (std::ranges::any_of(kSilentKeys, is_key)) continue;
    const auto foreign = foreign_keys().find(key);
    if (foreign != foreign_keys().end() && foreign->second == value) continue;
    const std::string near =
        foreign == foreign_keys().end() ? nearest_match(key, known) : std::string();
    missed.push_back(fmt::format("{} = {}{}", key, value.dump().substr(0, 80),
                                 near.empty() ? "" : fmt::format(" (did you mean {}?)", near)));
  }
  return missed;
}

// What the file sets otherwise than GenerationOptions has it.
std::vector<std::string> settings_in(const json& file, const std::string& where) {
  const GenerationOptions options = read_options(file, where), defaults;
  std::vector<std::string> set;
  const json values = write_value(options), usual = write_value(defaults);
  for (const auto& [option, value] : values.items()) {
    const std::string key(file_key(option));
    if (!key.empty() && has(file, key) && value != usual[option]) {
      set.push_back(fmt::format("{} = {}", key, file[key].dump()));
    }
  }
  return set;
}

void check_start(const json& file, const LanguageConfig& language, const std::string& where) {
  const auto* t5 = std::get_if<T5Config>(&language);
  if (!t5 || !has(file, "decoder_start_token_id")) return;
  if (file["decoder_start_token_id"] == t5->decoder_start_token_id) return;
  throw Error(fmt::format("expected {} as config.json says, got {}", t5->decoder_start_token_id,
                          file["decoder_start_token_id"].dump()),
              where + ": decoder_start_token_id", "the files do not belong together");
}

// The file's eos_token_id as ids of the model.
std::vector<std::int32_t> read_ends(const json& value, std::int64_t vocabulary,
                                    const std::string& where) {
  std::vector<std::int64_t> ids;
  read_value(ids, value, where);
  if (ids.empty()) throw Error("expected at least one token", where);
  for (const std::int64_t id : ids) {
    if (id >= 0 && id < vocabulary) continue;
    throw Error(fmt::format("expected tokens from 0 to {}, got {}", vocabulary - 1, id), where);
  }
  return {ids.begin(), ids.end()};
}

json one_or_list(const std::vector<std::int32_t>& ids) {
  return ids.size() == 1 ? json(ids.front()) : json(ids);
}

// The tokens that transformers' `generate` asks for, of a language model's configuration.
json token_roles(const LanguageConfig& language) {
  json roles = json::object();
  const json config = write_language_config(language);
  for (const char* key :
       {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}) {
    if (has(config, key)) roles[key] = config[key];
  }
  return roles;
}

void write(const json& file, const fs::path& folder) {
  write_file(folder / kGenerationConfig, file.dump(2) + "\n");
}

}  // namespace

void apply_generation_config(const fs::path& folder,
                             const std::function<bool(std::string_view)>& chosen,
                             GenerationOptions& options) {
  const json file = read_file_of(folder);
  if (file.empty()) return;
  const std::string where = (folder / kGenerationConfig).string();
  if (read_blip2_config(folder / "config.json").layout != ModelLayout::own) {
    const auto set = settings_in(file, where);
    if (set.empty()) return;
    return log_warning(
        "{}: {} not followed, as transformers' generate of this class does not read them; give "
        "them as options",
        where, fmt::join(set, ", "));
  }
  const GenerationOptions read = read_options(file, where);
  const json values = write_value(read);
  GenerationOptions::fields(options, [&](std::string_view option, auto& field, auto) {
    const std::string_view key = file_key(option);
    if (key.empty() || !has(file, key) || chosen(option)) return;
    read_value(field, values[std::string(option)], where);
  });
  if (const auto missed = not_followed(file); !missed.empty()) {
    log_warning("{}: {}: this program does not have it, texts are generated without", where,
                fmt::join(missed, ", "));
  }
}

std::vector<std::int32_t> text_ends(const fs::path& folder, const Blip2Config& config,
                                    const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ends = end_tokens(*config.language);
  if (config.layout != ModelLayout::own) return ends;
  const std::string where = (folder / kGenerationConfig).string();
  const json file = read_file_of(folder);
  const std::int64_t vocabulary = vocabulary_of(*config.language);
  check_start(file, *config.language, where);
  if (has(file, "eos_token_id")) {
    return read_ends(file["eos_token_id"], vocabulary, where + ": eos_token_id");
  }
  for (const std::int32_t id : tokenizer.turn_tokens()) {
    if (id < vocabulary && std::ranges::find(ends, id) == ends.end()) ends.push_back(id);
  }
  return ends;
}

void write_own_generation_config(const fs::path& init, const Blip2Config& config,
                                 const Tokenizer& tokenizer, bool guard, const fs::path& folder) {
  json file = read_file_of(init);
  const json roles = token_roles(*config.language);
  for (const auto& [key, id] : roles.items()) {
    if (!has(file, key)) file[key] = id;
  }
  file["eos_token_id"] = one_or_list(text_ends(init, config, tokenizer));
  if (guard && !has(file, "no_repeat_ngram_size") && !has(file, "repetition_penalty")) {
    file["no_repeat_ngram_size"] = kLoopGuard;
  }
  write(file, folder);
}

void write_converted_generation_config(const fs::path& source, const LanguageConfig& language,
                                       const fs::path& folder) {
  json file = read_file_of(source);
  file.update(token_roles(language));
  write(file, folder);
}

}  // namespace blip2
