// decoding SPEC.json: a list of {"scores": [...], "seen": [...], "generated": n, "eos": [...],
// "options": {...}}; one JSON line each: the scores after all processors, null where excluded.
#include <cmath>
#include <iostream>

#include "blip2/base/error.h"
#include "blip2/decoding/processors_internal.h"
#include "blip2/io/fields.h"
#include "blip2/io/json.h"

int main(int argc, char** argv) {
  using namespace blip2;
  if (argc != 2) {
    std::cerr << "decoding SPEC.json\n";
    return 2;
  }
  try {
    for (const auto& item : read_json(argv[1])) {
      GenerationOptions options;
      read_fields(options, item.at("options"), "options");
      options.eos_token_ids = item.at("eos").get<std::vector<std::int32_t>>();
      auto scores = item.at("scores").get<std::vector<float>>();
      const auto seen = item.at("seen").get<std::vector<std::int32_t>>();
      process_scores(scores, seen, item.at("generated").get<std::int64_t>(), options);
      if (options.sample) warp_scores(scores, options);
      nlohmann::json line = nlohmann::json::array();
      for (const float s : scores)
        line.push_back(std::isinf(s) ? nlohmann::json() : nlohmann::json(s));
      std::cout << line.dump() << "\n";
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
