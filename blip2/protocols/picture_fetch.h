#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/limits.h"

namespace blip2 {

// How remote pictures are fetched. Addresses are checked after the name is resolved and again when
// the connection is made: nothing but a public address is connected to.
struct FetchOptions {
  std::chrono::milliseconds connect_limit{3000}, limit{10'000};  // of time
  std::function<bool()> cancelled;  // asked several times a second; may be empty
  // For tests only: addresses ("127.0.0.1") that count as public, a port other than 443, and the
  // file of the certificate authority to trust instead of the system's.
  std::vector<std::string> test_addresses;
  int test_port = 0;
  std::string test_authority;
};

// Gives `picture` the bytes that its URL leads to, and checks their header as check_picture does;
// a picture that has bytes is left as it is. https:// only from rules.hosts, without redirects,
// proxies or cookies; file:// only regular files below rules.media_root, through no symbolic link
// that leads out of it. RequestError otherwise (400; 504 after the time limit). Blocks for up to
// the limit: call it where blocking is allowed. Several threads may call it at once.
void fetch_picture(PictureSource& picture, const PictureRules& rules,
                   const FetchOptions& options = {});

}  // namespace blip2
