#include "apps/blip2/bad_items.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/blip2/output.h"
#include "blip2/base/error.h"
#include "blip2/base/log.h"

namespace blip2 {

void add_bad_share(CLI::App& verb, std::optional<double>& share) {
  verb.add_option(
          "--bad-share", share,
          "Largest share of bad pictures or records that is allowed. Without it the good ones "
          "are answered, and a bad one makes the exit code 1")
      ->check(CLI::Range(0.0, 1.0));
}

void BadItems::add(const std::string& image, const std::string& what) {
  ++count_;
  log_warning("{}", what);
  if (!json_) return;
  nlohmann::ordered_json object{{"image", image}, {"error", what}};
  if (image.empty()) object["image"] = nullptr;
  print_json(object);
}

void BadItems::check(std::size_t total) const {
  if (count_ == 0) return;
  const std::string counted = fmt::format("{} of {} are bad, see above", count_, total);
  if (count_ >= total) throw Error(counted, "", "nothing is left to answer");
  if (share_ && static_cast<double>(count_) > *share_ * static_cast<double>(total)) {
    throw Error(fmt::format("{}: more than {:g} %", counted, 100 * *share_), "",
                "mend them, or allow a larger --bad-share");
  }
}

void BadItems::finish(std::size_t total) const {
  check(total);
  if (count_ == 0 || share_) return;
  throw Error(fmt::format("{} of {} are bad, see above", count_, total), "",
              "the others are answered; --bad-share bears some");
}

}  // namespace blip2
