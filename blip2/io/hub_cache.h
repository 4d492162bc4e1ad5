#pragma once

#include <filesystem>
#include <string>

namespace blip2 {

// Models of the Hugging Face Hub in the cache that its own tools (`hf download`) keep on this
// machine. Nothing here reaches the network. Several threads may call these functions as long as
// none changes the environment.

// The cache's folder as the Hub's tools find it: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else
// hub/ in HF_HOME, else huggingface/hub/ in XDG_CACHE_HOME or ~/.cache.
std::filesystem::path hub_cache_folder();

// What `model` names: a file or folder relative to `folder`, if there is one; else the cached
// snapshot of "organisation/name[@revision]" (a branch, tag or commit; "main" if none is given).
// What can be no such name is a path, whether it is there or not. Error, with the command that
// fetches the model, if it is neither a path nor in the cache.
std::filesystem::path find_model(const std::string& model,
                                 const std::filesystem::path& folder = {});

// The name of the model in a folder: "organisation/name" for a snapshot of a cache, else the
// folder's own name.
std::string model_name(const std::filesystem::path& folder);

}  // namespace blip2
