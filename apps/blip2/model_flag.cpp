#include "apps/blip2/model_flag.h"

#include "blip2/io/hub_cache.h"

namespace blip2 {

CLI::Option* add_model(CLI::App& verb, const std::string& name, std::string& model,
                       const std::string& help) {
  return verb
      .add_option_function<std::string>(
          name, [&model](const std::string& given) { model = find_model(given).string(); },
          help + ", or organisation/name[@revision] in the Hugging Face Hub's local cache")
      ->type_name("MODEL");
}

}  // namespace blip2
