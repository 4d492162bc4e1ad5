#include "blip2/io/gzip.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::size_t kPart = 1u << 20;

struct Close {
  void operator()(gzFile_s* file) const { gzclose_r(file); }
};
using OpenGzip = std::unique_ptr<gzFile_s, Close>;

OpenGzip open_gzip(const std::filesystem::path& path) {
  OpenGzip file(gzopen(path.c_str(), "rb"));
  if (!file) throw Error(std::string("cannot be opened: ") + std::strerror(errno), path.string());
  gzbuffer(file.get(), kPart / 4);
  return file;
}

// Reads more into `text` behind its first `kept` bytes; false at the end of the file.
bool read_more(gzFile_s* file, std::string& text, std::size_t kept, const std::string& where) {
  text.resize(kept + kPart);
  const int got = gzread(file, text.data() + kept, kPart);
  int code = Z_OK;
  const char* what = gzerror(file, &code);
  if (got < 0 || code != Z_OK) {
    throw Error(std::string("expected a gzip file, got: ") + what, where,
                "the file is truncated or damaged");
  }
  text.resize(kept + static_cast<std::size_t>(got));
  return got > 0;
}

}  // namespace

void each_gzip_line(const std::filesystem::path& path,
                    const std::function<void(std::string_view)>& line) {
  const OpenGzip file = open_gzip(path);
  std::string text;
  std::size_t kept = 0;
  while (read_more(file.get(), text, kept, path.string())) {
    std::string_view rest = text;
    for (std::size_t end = 0; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      line(rest.substr(0, end));
    }
    if (rest.size() > kPart) throw Error("has a line of more than 1 MiB", path.string());
    kept = rest.size();
    text.erase(0, text.size() - kept);
  }
  if (kept > 0) line(text);
}

}  // namespace blip2
