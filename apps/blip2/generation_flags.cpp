#include "apps/blip2/generation_flags.h"

#include <string>
#include <type_traits>

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
      verb.add_flag(flag_of(key), field, std::string(help));
    } else {
      auto* option = verb.add_option(flag_of(key), field, std::string(help))->capture_default_str();
      if (key == "early_stopping") option->check(CLI::IsMember({"false", "true", "never"}));
    }
  });
}

void settle_beams(const CLI::App& verb, GenerationOptions& options) {
  if (options.sample && verb.count("--beams") == 0) options.beams = 1;
}

}  // namespace blip2
