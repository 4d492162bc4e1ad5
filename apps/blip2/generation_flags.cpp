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
  return flag;
}

}  // namespace

void add_generation_flags(CLI::App& verb, GenerationOptions& options) {
  GenerationOptions::fields(options, [&](std::string_view key, auto& field, std::string_view help) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(field)>, bool>) {
      verb.add_flag(flag_of(key), field, std::string(help));
    } else {
      verb.add_option(flag_of(key), field, std::string(help))->capture_default_str();
    }
  });
}

}  // namespace blip2
