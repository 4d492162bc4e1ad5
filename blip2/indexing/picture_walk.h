#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

// A file that may be a picture, and what the file system says of it.
struct WalkedFile {
  std::string path;  // the real path of its folder, and its name
  std::uint64_t bytes = 0;
  std::int64_t modified = 0;  // nanoseconds since 1970
};

// A place below which nothing can be said: files there may exist.
struct LostPlace {
  enum class Kind {
    missing,     // a given folder, or what a link points to, is not there
    empty,       // a given folder holds nothing, as the place of a disk that is not mounted
    unreadable,  // it is there, or was a moment ago, and cannot be read
  };
  std::string path, problem;
  Kind kind = Kind::missing;
};

struct PictureWalk {
  std::vector<WalkedFile> files;     // sorted by path, each once
  std::vector<std::string> folders;  // the real paths of all folders that were read
  std::vector<LostPlace> lost;
};

// Finds the files below some folders that may be pictures: those that are named so, and those whose
// names have no suffix and that begin as pictures do. Links to folders and files are followed,
// wherever they lead; each folder is read once, so that loops end, and a file that several links
// point to is there once. Names that begin with a dot are left out below the given folders, as are
// folders of thumbnails, bins and the like, and the folder `leave_out`. A folder that cannot be
// read costs only itself. Throws Interrupted after a signal. Several threads may call it at once.
PictureWalk walk_pictures(std::span<const std::string> folders, const std::string& leave_out);

// When a file was modified, in nanoseconds since 1970.
std::int64_t modified_of(const struct stat& status);

// The absolute path of a folder with its links resolved, also of links whose ends are missing.
std::string real_folder(const std::filesystem::path& folder);

// Whether a path is the folder or lies below it.
bool is_below(const std::string& path, const std::string& folder);

}  // namespace blip2
