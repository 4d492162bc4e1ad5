#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>

#include "blip2/capfilt/filter_run.h"
#include "blip2/capfilt/filter_shard.h"

namespace blip2 {

// All that the content of a run's shards follows from: the settings, the models' files, and the
// source's pictures and captions, as hashes.
nlohmann::ordered_json settings_of(const FilterRunOptions& options,
                                   std::span<const SourcePicture> pictures);

// Makes the folder of a run and leaves the settings there, in capfilt.json; the first of several
// processes does it. Error if it holds anything but a run with these settings.
void claim_folder(const std::filesystem::path& folder, const nlohmann::ordered_json& settings);

}  // namespace blip2
