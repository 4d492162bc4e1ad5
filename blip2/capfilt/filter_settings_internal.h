#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>

#include "blip2/capfilt/filter_run.h"
#include "blip2/capfilt/filter_shard_internal.h"

namespace blip2 {

// Everything that decides the content of a run's shards: the settings, and hashes of the models'
// files and of the source's pictures and captions.
nlohmann::ordered_json settings_of(const FilterRunOptions& options,
                                   std::span<const SourcePicture> pictures);

// Makes the folder of a run and writes the settings into its capfilt.json; of several processes the
// first one does it. Error if the folder holds anything but a run with these settings.
void claim_folder(const std::filesystem::path& folder, const nlohmann::ordered_json& settings);

}  // namespace blip2
