#pragma once

#include <boost/asio/ssl/context.hpp>
#include <filesystem>
#include <optional>

namespace blip2 {

// A server's TLS (1.2 or newer) with a certificate, its chain and its key from PEM files; nothing
// if both paths are empty. Error naming the file that cannot be read, or both if they do not fit.
std::optional<boost::asio::ssl::context> make_tls(const std::filesystem::path& certificate,
                                                  const std::filesystem::path& key);

}  // namespace blip2
