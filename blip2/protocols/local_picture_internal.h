#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace blip2 {

// The content of the regular file that a file:// URL names, below `root`: file:///root/a/b.png,
// file://localhost/root/a/b.png, or relative to the root, file://a/b.png. RequestError (400) naming
// `param` if the file is not there, lies elsewhere (also by way of a symbolic link; the message is
// then the same), is no regular file or has more than `max_bytes`.
std::string read_local_picture(const std::string& url, const std::filesystem::path& root,
                               std::uint64_t max_bytes, const std::string& param);

}  // namespace blip2
