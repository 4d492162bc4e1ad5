#pragma once

#include <memory>
#include <string>
#include <vector>

#include "blip2/search/picture_index.h"

namespace blip2 {

// The folders that an index follows: real paths, sorted, each once. An index keeps them as a value.
inline constexpr char kFollowedFolders[] = "folders";
std::string folders_to_text(const std::vector<std::string>& folders);
// Error naming `where` if the text is none of folders_to_text().
std::vector<std::string> folders_from_text(const std::string& text, const std::string& where);

// The folders of an index, with `added` and without `removed`. Error if a folder added is not there
// or is none, unless the index follows it already, and if it does not follow a folder removed.
// `index`: nullptr if there is none yet.
std::vector<std::string> folders_to_follow(const PictureIndex* index,
                                           const std::vector<std::string>& added,
                                           const std::vector<std::string>& removed);

}  // namespace blip2
