#include "blip2/data/picture_finder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <regex>
#include <utility>

#include "blip2/data/record_fields_internal.h"
#include "blip2/io/tar_place.h"

namespace blip2 {
namespace {

// The names of a picture in COCO's other release. Ids are the same in both releases.
std::vector<std::string> other_coco_names(const std::string& name) {
  static const std::regex kOf2014("COCO_(train|val|test)201[45]_([0-9]{12}\\.jpg)");
  static const std::regex kOf2017("[0-9]{12}\\.jpg");
  const std::string base = name.substr(name.rfind('/') + 1);
  std::smatch parts;
  if (std::regex_match(base, parts, kOf2014)) {
    const std::string file = parts[2];
    if (parts[1] == "test") return {"test2017/" + file, file};
    return {"train2017/" + file, "val2017/" + file, file};
  }
  if (!std::regex_match(base, kOf2017)) return {};
  std::vector<std::string> names;
  for (const char* part : {"train2014", "val2014", "test2015"}) {
    const std::string file = fmt::format("COCO_{}_{}", part, base);
    names.insert(names.end(), {fmt::format("{}/{}", part, file), file});
  }
  return names;
}

// Why the place cannot be in its shard; whether a picture is there shows when it is read.
std::string problem_of(const TarPlace& place) {
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(place.archive, error);
  if (error) return fmt::format("cannot find the shard {}", place.archive.string());
  if (place.offset <= size && place.size <= size - place.offset) return "";
  return fmt::format("{} ends at byte {}, before the picture does", place.archive.string(), size);
}

}  // namespace

PictureFinder::PictureFinder(std::vector<std::filesystem::path> folders, std::string hint)
    : folders_(std::move(folders)), hint_(std::move(hint)) {}

std::string PictureFinder::find(const std::string& name,
                                std::initializer_list<std::string> others) {
  const auto [place, fresh] = known_.try_emplace(name);
  if (fresh) {
    std::vector<std::string> names{name};
    names.insert(names.end(), others.begin(), others.end());
    for (std::string& other : other_coco_names(name)) names.push_back(std::move(other));
    place->second = search(names);
  }
  if (!place->second.problem.empty()) refuse(place->second.problem, hint_);
  return place->second.path;
}

std::set<std::string> PictureFinder::given() const {
  std::set<std::string> paths;
  for (const auto& [name, found] : known_) {
    if (found.problem.empty()) paths.insert(found.path);
  }
  return paths;
}

PictureFinder::Found PictureFinder::search(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (name.find('\0') != std::string::npos) return {"", "the picture's name holds a zero byte"};
  }
  if (const auto place = TarPlace::parse(names[0])) return {names[0], problem_of(*place)};
  for (std::size_t i = 0; i < folders_.size(); ++i) {
    // Where the last picture was, the next one is too.
    const std::size_t folder = (last_folder_ + i) % folders_.size();
    for (const std::string& name : names) {
      const std::string path = (folders_[folder] / name).lexically_normal().string();
      struct stat status;
      if (::stat(path.c_str(), &status) != 0) continue;
      if (!S_ISREG(status.st_mode)) return {path, fmt::format("{} is not a file", path)};
      if (status.st_size == 0) return {path, fmt::format("the picture {} is empty", path)};
      last_folder_ = folder;
      return {path, ""};
    }
  }
  const std::string first = (folders_[0] / names[0]).lexically_normal().string();
  if (folders_.size() == 1) return {"", fmt::format("cannot find the picture {}", first)};
  return {"", fmt::format("cannot find the picture {}, nor in {} other folders", first,
                          folders_.size() - 1)};
}

}  // namespace blip2
