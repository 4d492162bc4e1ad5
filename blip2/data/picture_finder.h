#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace blip2 {

// Finds pictures by name in some folders. Each name is looked up once, however many records have
// it. For one thread at a time.
class PictureFinder {
 public:
  // Names are tried in each folder, in order; `hint` says what to do when a picture is not there.
  explicit PictureFinder(std::vector<std::filesystem::path> folders, std::string hint = {});

  // The absolute path of the picture: of `name` or, if that does not exist, of the first of
  // `others` that does. Error if none exists, or it is not a file. A place in a tar shard
  // (TarPlace, in text form) is returned as it is. A picture of COCO's 2014 release is found under
  // its name of 2017, and the other way round.
  std::string find(const std::string& name, std::initializer_list<std::string> others = {});
  // All paths that find() has returned.
  std::set<std::string> given() const;

 private:
  struct Found {
    std::string path, problem;
  };
  Found search(const std::vector<std::string>& names);

  std::vector<std::filesystem::path> folders_;
  std::string hint_;
  std::size_t last_folder_ = 0;
  std::map<std::string, Found> known_;
};

}  // namespace blip2
