#pragma once

#include <string>

#include "blip2/protocols/limits.h"
#include "blip2/protocols/picture_fetch.h"

namespace blip2 {

// The bytes that an https:// URL leads to; see fetch_picture.
std::string fetch_remote_picture(const std::string& url, const PictureRules& rules,
                                 const FetchOptions& options, const std::string& param);

// Whether the host is one of the list, whatever the case of its letters. ".example.org" stands for
// every host below example.org.
bool is_allowed_host(const std::string& host, const std::vector<std::string>& allowed);

}  // namespace blip2
