#include "blip2/capfilt/filter_settings_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/hash.h"
#include "blip2/data/data_source.h"
#include "blip2/io/fields.h"
#include "blip2/io/json.h"
#include "blip2/model/directory.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::string_view kFile = "capfilt.json";

std::uint64_t hash_text_of(std::string_view text, std::uint64_t seed) {
  return hash_bytes(std::as_bytes(std::span(text)), seed);
}

bool is_model_file(const fs::path& path) {
  static const std::set<std::string> kExtensions{".json", ".safetensors", ".bin", ".txt", ".model"};
  return kExtensions.contains(path.extension().string());
}

// Names and contents of a model directory's own files and of the model that it keeps.
std::string hash_model(const fs::path& folder) {
  if (!fs::exists(folder / "config.json")) {
    throw Error("expected a model directory, found no config.json", folder.string());
  }
  std::vector<fs::path> files;
  const fs::path stage1 = folder / kStage1Folder;
  for (const fs::path& part :
       {folder, folder / kQFormerTokenizer, stage1, stage1 / kQFormerTokenizer}) {
    if (!fs::is_directory(part)) continue;
    for (const auto& entry : fs::directory_iterator(part)) {
      if (is_model_file(entry.path()) && entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::uint64_t hash = 0;
  for (const fs::path& file : files) {
    hash = hash_text_of(file.lexically_relative(folder).string(), hash);
    hash = hash_bytes(MappedFile::open(file)->bytes(), hash);
  }
  return hash_text(hash);
}

std::string hash_pictures(std::span<const SourcePicture> pictures) {
  std::uint64_t hash = pictures.size();
  for (const SourcePicture& picture : pictures) {
    hash = hash_text_of(picture.image_id, hash_text_of(picture.image, hash));
    for (const std::string& caption : picture.captions) hash = hash_text_of(caption, hash);
    hash = derive_seed(hash, picture.captions.size());
  }
  return hash_text(hash);
}

// Says nothing of the content: where the parts lie that are compared by their hashes.
bool is_place(std::string_view key) {
  return key == "data" || key == "model" || key == "matcher";
}

std::string difference(const nlohmann::json& found, const nlohmann::json& wanted) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : wanted.items()) {
    const nlohmann::json before = found.value(key, nlohmann::json());
    if (is_place(key) || before == value) continue;
    parts.push_back(fmt::format("{} was {}, is {}", key, before.dump(), value.dump()));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

// The names in a folder that are not of a claim in the making.
bool holds_others(const fs::path& folder) {
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const fs::directory_entry& entry) {
                       return !entry.path().filename().string().starts_with(kFile);
                     });
}

}  // namespace

ordered_json settings_of(const FilterRunOptions& options, std::span<const SourcePicture> pictures) {
  const CaptionFilterOptions& filter = options.filter;
  constexpr const char* kRanks[] = {"itc", "itm", "sum"};
  ordered_json settings{{"data", resolve_data_source(options.data, fs::current_path())},
                        {"pictures", pictures.size()},
                        {"pictures_hash", hash_pictures(pictures)},
                        {"matcher", fs::absolute(filter.matcher).string()},
                        {"matcher_hash", hash_model(filter.matcher)},
                        {"precision", filter.precision},
                        {"rank", kRanks[static_cast<int>(filter.rank)]},
                        {"keep", filter.keep},
                        {"format", options.tar ? "tar" : "jsonl"},
                        {"shard_size", options.shard_size}};
  if (filter.bridge != at::kFloat) settings["bridge"] = c10::toString(filter.bridge);
  if (filter.pictures.processor) {
    const bool pillow = *filter.pictures.processor == Resampler::pillow;
    settings["processor"] = pillow ? "pillow" : "torchvision";
  }
  if (filter.pictures.sixteen_bit) {
    settings["sixteen_bit"] = *filter.pictures.sixteen_bit == SixteenBit::cut ? "cut" : "scale";
  }
  if (std::isfinite(filter.min_score)) settings["min_score"] = filter.min_score;
  settings["captions"] = filter.generate ? filter.generation.return_sequences : 0;
  if (!filter.generate) return settings;
  settings["model"] = fs::absolute(filter.captioner).string();
  settings["model_hash"] = filter.captioner == filter.matcher
                               ? settings["matcher_hash"].get<std::string>()
                               : hash_model(filter.captioner);
  if (filter.prompt) settings["prompt"] = *filter.prompt;
  GenerationOptions::fields(filter.generation, [&](std::string_view key, const auto& value, auto) {
    if (key != "return_sequences") settings[std::string(key)] = write_value(value);
  });
  return settings;
}

void claim_folder(const fs::path& folder, const ordered_json& settings) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder)) {
    throw Error("cannot make the folder" + (error ? ": " + error.message() : ""), folder.string());
  }
  const fs::path file = folder / kFile;
  if (!fs::exists(file)) {
    if (holds_others(folder)) {
      throw Error("expected an empty folder or one of blip2 capfilt", folder.string());
    }
    write_file(file, settings.dump(1) + "\n");
  }
  const nlohmann::json found = read_json(file), wanted = settings;
  if (!found.is_object()) throw Error("expected the settings of a run", file.string());
  // Both ways, for settings that only one of them has.
  std::string differing = difference(found, wanted);
  if (differing.empty()) differing = difference(wanted, found);
  if (differing.empty()) return;
  throw Error("holds a run with other settings: " + differing, folder.string(),
              "use another folder, or the same settings");
}

}  // namespace blip2
