#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "apps/blip2/options.h"
#include "blip2/decoding/options.h"
#include "blip2/http/options.h"
#include "blip2/service/service.h"
#include "blip2/serving/engine.h"

namespace blip2 {

// The options of `serve`.
struct ServeOptions {
  RunOptions run;
  HttpOptions http;
  ServiceOptions service;
  EngineOptions engine;
  std::string api_key_file, log_jsonl, model_name, task = "auto";
  std::int64_t max_image_pixels = 0, cache_mib = 256;
  double request_timeout = 300, drain_timeout = 30;
};
void add_serve_flags(CLI::App& verb, ServeOptions& options);

// Brings the parts of the options into line once they have been read: keys of the file, limits that
// two parts share. Error naming file and line of a key that is none.
void settle_serve_options(const CLI::App& verb, ServeOptions& options);

}  // namespace blip2
