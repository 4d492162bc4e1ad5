#include "blip2/indexing/picture_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/image/look.h"
#include "blip2/indexing/update_plan.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {
namespace {

using std::chrono::nanoseconds;

// Clocks of file systems tick at least this often, so a file may be changed twice in such a time
// and have one modified time.
constexpr nanoseconds kTick = std::chrono::milliseconds(50);

struct OpenFile {
  int value;
  ~OpenFile() {
    if (value >= 0) ::close(value);
  }
};

// Reads to the file's end, which may have moved.
bool read_bytes(int file, std::size_t size, std::string& bytes) {
  bytes.resize(size + 1);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(file, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  bytes.resize(done);
  return true;
}

bool is_recent(std::int64_t modified) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return modified > std::chrono::duration_cast<nanoseconds>(now - kTick).count();
}

void refuse_unopened(PictureFile& file, int error) {
  file.gone = error == ENOENT || error == ENOTDIR;
  file.facts = unopened_file(file.path, std::string("cannot be read: ") + std::strerror(error));
}

void read_open(PictureFile& file, int descriptor) {
  struct stat before, after;
  if (::fstat(descriptor, &before) != 0) return refuse_unopened(file, errno);
  const auto size = static_cast<std::uint64_t>(before.st_size);
  file.facts = {file.path, size, modified_of(before), std::nullopt, ""};
  if (!S_ISREG(before.st_mode)) return refuse_unopened(file, EINVAL);
  if (const ImageLimits limits; size > limits.max_bytes) {
    file.facts.problem =
        fmt::format("the file has {} bytes, the limit is {}", size, limits.max_bytes);
    return;
  }
  if (!read_bytes(descriptor, size, file.content)) return refuse_unopened(file, errno);
  const bool steady = ::fstat(descriptor, &after) == 0 && file.content.size() == size &&
                      after.st_size == before.st_size && modified_of(after) == modified_of(before);
  if (!steady || is_recent(file.facts.modified)) --file.facts.modified;
  file.hash = content_hash(std::as_bytes(std::span(file.content)));
}

}  // namespace

void read_content(PictureFile& file) {
  const OpenFile open{::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (open.value < 0) return refuse_unopened(file, errno);
  try {
    read_open(file, open.value);
  } catch (const std::bad_alloc&) {
    file.facts.problem = "there is no memory to read it";
  }
}

void decode_content(PictureFile& file, const Preprocessing& preprocessing) {
  const std::string content = std::move(file.content);
  file.content.clear();
  try {
    const Photograph picture =
        decode_photograph(std::as_bytes(std::span(content)), file.path, preprocessing.sixteen_bit);
    file.width = picture.image.width;
    file.height = picture.image.height;
    file.notes = picture.notes;
    file.look = look_of(picture.image);
    file.pixels = to_tensor(preprocess(picture.image, preprocessing));
  } catch (const Error& error) {
    file.facts.problem =
        error.hint().empty() ? error.message() : error.message() + "; " + error.hint();
  } catch (const std::bad_alloc&) {
    file.facts.problem = "there is no memory to decode it";
  }
}

}  // namespace blip2
