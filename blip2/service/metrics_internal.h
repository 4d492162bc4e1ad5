#pragma once

#include <string>

#include "blip2/http/server.h"
#include "blip2/serving/engine.h"

namespace blip2 {

// GET /metrics in Prometheus's text format, version 0.0.4. Pure.
std::string prometheus_text(const EngineCounts& engine, const HttpCounts& http,
                            std::size_t requests_parsing);

}  // namespace blip2
