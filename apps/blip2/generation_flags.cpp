#include "apps/blip2/generation_flags.h"

#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/model/generation_config.h"

namespace blip2 {
namespace {

// "max_new_tokens" -> "--max-new-tokens"
std::string flag_of(std::string_view key) {
  std::string flag = "--" + std::string(key);
  for (char& c : flag) {
    if (c == '_') c = '-';
  }
  if (key == "return_sequences") flag += ",--num-return-sequences";  // as transformers calls it
  return flag;
}

}  // namespace

void add_generation_flags(CLI::App& verb, GenerationOptions& options) {
  GenerationOptions::fields(options, [&](std::string_view key, auto& field, std::string_view help) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(field)>, bool>) {
      const std::string flag = flag_of(key);
      verb.add_flag(flag + ",!--no-" + flag.substr(2), field, std::string(help));
    } else {
      auto* option = verb.add_option(flag_of(key), field, std::string(help))->capture_default_str();
      if (key == "early_stopping") option->check(CLI::IsMember({"false", "true", "never"}));
    }
  });
}

namespace {

// Wrong usage if the command's options are out of range or contradict each other, whatever the
// model's file sets. `own`: the command's alone, with the verb's defaults.
template <typename Given>
void check_given(GenerationOptions settled, const GenerationOptions& own, const Given& given) {
  const auto from_file = [&](const char* key, std::int64_t GenerationOptions::*field) {
    return !given(key) && settled.*field != own.*field;
  };
  if (from_file("beams", &GenerationOptions::beams)) settled.beams = 1024;
  if (from_file("return_sequences", &GenerationOptions::return_sequences)) {
    settled.return_sequences = 1;
  }
  if (from_file("min_new_tokens", &GenerationOptions::min_new_tokens)) settled.min_new_tokens = 0;
  if (from_file("max_new_tokens", &GenerationOptions::max_new_tokens)) {
    settled.max_new_tokens = std::numeric_limits<std::int64_t>::max();
  }
  try {
    validate(settled);
  } catch (const Error& error) {
    throw CLI::ValidationError(error.what());
  }
}

}  // namespace

void settle_generation(const CLI::App& verb, const std::string& model, GenerationOptions& options) {
  constexpr std::int64_t kUnset = -1;
  const GenerationOptions own = options;
  const std::int64_t beams = std::exchange(options.beams, kUnset);
  const auto given = [&](std::string_view key) {
    const std::string flag = flag_of(key);
    const CLI::Option* option = verb.get_option_no_throw(flag.substr(0, flag.find(',')));
    return option != nullptr && option->count() > 0;
  };
  if (given("beams")) options.beams = beams;
  apply_generation_config(model, given, options);
  if (options.beams == kUnset) options.beams = options.sample ? 1 : beams;
  check_given(options, own, given);
}

}  // namespace blip2
