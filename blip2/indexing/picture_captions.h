#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "blip2/base/content_hash.h"
#include "blip2/indexing/index_update.h"
#include "blip2/search/picture_index.h"

namespace blip2 {

// A picture without a caption, and a file that has it.
struct UncaptionedPicture {
  std::int64_t picture = 0;
  std::string path;
};

// Those of an index, in the order of their numbers. Error if the index cannot be read.
std::vector<UncaptionedPicture> uncaptioned_pictures(const std::string& index);

// The captions that an index has, by the content of their pictures.
std::map<ContentHash, std::string> captions_of(const PictureIndex& index);

// Writes captions as `blip2 caption` does by default, by the model of the options. All processes
// call it together and share the work; the main process's list counts, and it alone calls `set`.
// Pictures that cannot be read are named on standard error and left without. Shows progress. Throws
// Interrupted after a signal, and Error if the model has no language model.
void caption_pictures(
    const IndexOptions& options, const Ranks* ranks,
    const std::vector<UncaptionedPicture>& pictures,
    const std::function<void(std::int64_t picture, const std::string& caption)>& set);

}  // namespace blip2
