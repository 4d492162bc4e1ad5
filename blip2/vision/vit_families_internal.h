#pragma once

#include <string>
#include <vector>

#include "blip2/vision/vit_layers.h"

namespace blip2 {

// What tells one architecture of vision transformers from another: the names of its tensors, which
// are its members' names, and by them the parts that it has. A name that is null: it has no such
// part.
struct VitFamily {
  const char* class_token = nullptr;
  const char* registers = nullptr;  // between class token and patches
  const char* positions = nullptr;  // a table of learned embeddings
  const char* patches;              // the product over patches, and its bias
  bool patch_bias = true;
  const char* patch_norm = nullptr;  // before the positions are added
  const char* first_norm = nullptr;  // before the blocks
  const char* last_norm = nullptr;
  const char* blocks = "encoder.layers.";
  VitBlockNames block;
  // Class token [D] and table [P, D], otherwise [1, 1, D] and [1, P, D].
  bool flat = false;
  TableFilter filter = TableFilter::bicubic;  // of the table for another grid
  // Tensors of its files that no feature depends on.
  std::vector<std::string> ignored = {};
};

// The family of a configuration that check_vit_config accepts.
const VitFamily& vit_family(const VitConfig& config);

}  // namespace blip2
