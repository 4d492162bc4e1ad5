#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "blip2/protocols/local_picture_internal.h"
#include "blip2/protocols/picture_url_internal.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::string percent_decoded(std::string_view text, const std::string& param) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0 || high + low == 0) {
      refuse(param, "the URL has a % without the two hex digits of a byte other than 0",
             "invalid_image_url");
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

[[noreturn]] void refuse_file(const std::string& param) {
  refuse(param, "the URL names no picture below the server's media folder", "image_not_found");
}

// The path below the root that the URL names.
fs::path relative_path(std::string_view url, const fs::path& root, const std::string& param) {
  constexpr std::string_view kScheme = "file:", kSlashes = "//", kHost = "localhost/";
  url.remove_prefix(kScheme.size());
  if (url.starts_with(kSlashes)) url.remove_prefix(kSlashes.size());
  if (has_scheme(url, kHost)) url.remove_prefix(kHost.size() - 1);
  const fs::path path = percent_decoded(url, param);
  if (path.is_relative()) return path;
  for (const fs::path& start : {root, fs::weakly_canonical(root)}) {
    const fs::path below = path.lexically_relative(start);
    if (!below.empty() && *below.begin() != "..") return below;
  }
  refuse_file(param);
}

// Opens a file below the folder; the system makes sure of that, whatever links change meanwhile.
int open_beneath(int folder, const fs::path& path) {
  open_how how{};
  how.flags =
      O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;  // a pipe without a writer must not block
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how));
}

std::string read_whole(int file, std::uint64_t max_bytes, const std::string& param) {
  constexpr std::size_t kPiece = 1u << 20;
  std::string bytes;
  for (;;) {
    const std::size_t start = bytes.size();
    bytes.resize(start + kPiece);
    const ssize_t count = read(file, bytes.data() + start, kPiece);
    bytes.resize(start + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_file(param);
    if (bytes.size() > max_bytes) {
      refuse(param, fmt::format("the picture has more than {} bytes", max_bytes),
             "image_too_large");
    }
    if (count == 0) return bytes;
  }
}

}  // namespace

std::string read_local_picture(const std::string& url, const fs::path& root,
                               std::uint64_t max_bytes, const std::string& param) {
  const fs::path path = relative_path(url, root.lexically_normal(), param);
  const Descriptor folder(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (folder.number() < 0) refuse_file(param);
  const Descriptor file(open_beneath(folder.number(), path));
  struct stat about {};
  if (file.number() < 0 || fstat(file.number(), &about) != 0 || !S_ISREG(about.st_mode)) {
    refuse_file(param);
  }
  return read_whole(file.number(), max_bytes, param);
}

}  // namespace blip2
