#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"

namespace blip2 {

// A stretch of another naming's tensor: the `index`-th of `of` equal parts along the first
// dimension. Without a source: zeros of the shape of the recipe's first part.
struct TensorPart {
  std::string source;
  std::int64_t index = 0, of = 1;
};

// One of our tensors as parts of another naming's, one after another along the first dimension.
struct TensorRecipe {
  std::string name;
  std::vector<TensorPart> parts;
};

// A file under our names: what the recipes make of its tensors under `prefix`, named prefix + ours,
// and beside it those tensors under the prefix that no recipe names, as they are. Tensors of
// several parts are copied, all others lie where they were.
//
// A recipe of which a part is missing makes nothing, and stored_name() gives that part's name, so
// that adopt() (nn/adopt.h) can refuse the file in its own words. Error that lists the tensors
// which cannot be split or joined.
std::unique_ptr<TensorFile> recast(std::shared_ptr<const TensorFile> file,
                                   const std::vector<TensorRecipe>& recipes,
                                   const std::string& prefix = {});

}  // namespace blip2
