#include "blip2/indexing/picture_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "blip2/base/interrupt.h"
#include "blip2/io/picture_format.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using OpenFolder = std::unique_ptr<DIR, CloseFolder>;

// Folders of other programs' thumbnails, bins and archives' forks.
bool is_junk(std::string_view name) {
  static constexpr std::array<std::string_view, 7> kJunk{
      "@eaDir",     "#recycle", "$RECYCLE.BIN", "System Volume Information",
      "lost+found", "__MACOSX", "#snapshot"};
  return std::ranges::find(kJunk, name) != kJunk.end() || name.ends_with(".lrdata");
}

// Whether a name ends as a picture's does, in any case, with something before the dot.
bool has_picture_suffix(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == name.npos || dot == 0) return false;
  std::string suffix(name.substr(dot + 1));
  std::ranges::transform(suffix, suffix.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return is_picture_extension(suffix) || suffix == "jpe" || suffix == "jfif";  // cameras' names
}

// Whether a file begins as a picture does; false if it cannot be read.
bool begins_as_picture(int folder, const char* name) {
  const int file = ::openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return false;
  std::array<char, 4096> start{};
  const ssize_t count = ::pread(file, start.data(), start.size(), 0);
  ::close(file);
  return count > 0 && picture_format({start.data(), static_cast<std::size_t>(count)}).has_value();
}

std::string joined(const std::string& folder, std::string_view name) {
  std::string path = folder;
  if (path.back() != '/') path += '/';
  return path.append(name);
}

// One walk over some folders.
class Walker {
 public:
  explicit Walker(std::string leave_out) : leave_out_(std::move(leave_out)) {}

  void add_root(const std::string& folder) {
    std::error_code error;
    if (!fs::exists(folder, error) && !error) {
      return lose(folder, "is not there", LostPlace::Kind::missing);
    }
    roots_.insert(folder);
    push(folder);
  }

  PictureWalk walk() {
    while (!waiting_.empty()) {
      if (interrupted()) throw Interrupted{};
      const std::string folder = std::move(waiting_.back());
      waiting_.pop_back();
      read(folder);
    }
    add_linked_files();
    std::ranges::sort(walk_.files, {}, &WalkedFile::path);
    std::ranges::sort(walk_.folders);
    return std::move(walk_);
  }

 private:
  void push(const std::string& folder) {
    if (folder != leave_out_ && seen_.insert(folder).second) waiting_.push_back(folder);
  }

  void lose(const std::string& path, std::string problem,
            LostPlace::Kind kind = LostPlace::Kind::unreadable) {
    walk_.lost.push_back({path, std::move(problem), kind});
  }

  void read(const std::string& folder) {
    const OpenFolder open(::opendir(folder.c_str()));
    if (!open) return lose(folder, std::string("cannot be read: ") + std::strerror(errno));
    std::size_t entries = 0;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(open.get());
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      ++entries;
      if (!name.starts_with('.')) add(folder, ::dirfd(open.get()), *entry);
    }
    if (errno != 0) lose(folder, std::string("cannot be read: ") + std::strerror(errno));
    walk_.folders.push_back(folder);
    if (entries == 0 && roots_.contains(folder)) {
      lose(folder, "is empty", LostPlace::Kind::empty);
    }
  }

  void add(const std::string& folder, int open, const dirent& entry) {
    const std::string path = joined(folder, entry.d_name);
    if (entry.d_type == DT_DIR) {
      if (!is_junk(entry.d_name)) push(path);
      return;
    }
    if (entry.d_type == DT_LNK || entry.d_type == DT_UNKNOWN) return add_link(path, open, entry);
    if (entry.d_type != DT_REG || !may_be_picture(open, entry.d_name)) return;
    struct stat status;
    if (stat_of(path, open, entry.d_name, status)) add_file(path, status);
  }

  // A link, or what the file system does not say the kind of.
  void add_link(const std::string& path, int open, const dirent& entry) {
    struct stat status;
    if (::fstatat(open, entry.d_name, &status, 0) != 0) {
      const bool dangling = errno == ENOENT && fs::is_symlink(path);
      if (dangling) lose(real_folder(path), "is not there", LostPlace::Kind::missing);
      return;
    }
    if (S_ISDIR(status.st_mode)) {
      std::error_code error;
      const fs::path real = fs::canonical(path, error);
      if (!error && !is_junk(entry.d_name)) push(real.string());
    } else if (S_ISREG(status.st_mode) && may_be_picture(open, entry.d_name)) {
      const bool link = entry.d_type == DT_LNK || fs::is_symlink(path);
      if (link) linked_.emplace_back(path, status);
      if (!link) add_file(path, status);
    }
  }

  static bool may_be_picture(int open, const char* name) {
    if (has_picture_suffix(name)) return true;
    return std::strchr(name, '.') == nullptr && begins_as_picture(open, name);
  }

  bool stat_of(const std::string& path, int open, const char* name, struct stat& status) {
    if (::fstatat(open, name, &status, 0) == 0) return S_ISREG(status.st_mode);
    if (errno != ENOENT) lose(path, std::string("cannot be read: ") + std::strerror(errno));
    return false;
  }

  void add_file(const std::string& path, const struct stat& status) {
    walk_.files.push_back({path, static_cast<std::uint64_t>(status.st_size), modified_of(status)});
  }

  // Links whose file is not there by itself; of several to one file the first by name.
  void add_linked_files() {
    if (linked_.empty()) return;
    std::set<std::pair<dev_t, ino_t>> present;
    for (const WalkedFile& file : walk_.files) {
      struct stat status;
      if (::stat(file.path.c_str(), &status) == 0) present.emplace(status.st_dev, status.st_ino);
    }
    std::ranges::sort(linked_, {}, &std::pair<std::string, struct stat>::first);
    for (const auto& [path, status] : linked_) {
      if (present.emplace(status.st_dev, status.st_ino).second) add_file(path, status);
    }
  }

  std::string leave_out_;
  PictureWalk walk_;
  std::set<std::string> roots_;
  std::unordered_set<std::string> seen_;
  std::vector<std::string> waiting_;
  std::vector<std::pair<std::string, struct stat>> linked_;
};

}  // namespace

std::int64_t modified_of(const struct stat& status) {
  constexpr std::int64_t kNanoseconds = 1'000'000'000;
  return status.st_mtim.tv_sec * kNanoseconds + status.st_mtim.tv_nsec;
}

std::string real_folder(const fs::path& folder) {
  constexpr int kMostLinks = 40;  // as the system follows
  fs::path path = fs::absolute(folder);
  std::error_code error;
  for (int i = 0; i < kMostLinks; ++i) {
    const fs::path real = fs::canonical(path, error);
    if (!error) return real.string();
    const fs::path target = fs::read_symlink(path, error);
    if (error) break;
    path = path.parent_path() / target;
  }
  std::string text = fs::weakly_canonical(path, error).string();
  if (error) text = path.lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

bool is_below(const std::string& path, const std::string& folder) {
  if (!path.starts_with(folder)) return false;
  return path.size() == folder.size() || folder.back() == '/' || path[folder.size()] == '/';
}

PictureWalk walk_pictures(std::span<const std::string> folders, const std::string& leave_out) {
  Walker walker(leave_out);
  for (const std::string& folder : folders) walker.add_root(real_folder(folder));
  return walker.walk();
}

}  // namespace blip2
