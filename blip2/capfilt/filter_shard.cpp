#include "blip2/capfilt/filter_shard_internal.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/fields.h"
#include "blip2/io/json.h"
#include "blip2/io/picture_format.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::string_view kPrefix = "shard-";

std::string to_text(const ordered_json& object) {
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// The extension for a file that has been decoded, so that it is of a format that is read.
std::string_view extension_of(const std::string& file) {
  return picture_kind(picture_format(file).value()).extension;
}

}  // namespace

ShardFiles::ShardFiles(const fs::path& folder, std::size_t number, bool tar)
    : data_(folder / fmt::format("{}{:05}.{}", kPrefix, number, tar ? "tar" : "jsonl")),
      stats_(folder / fmt::format("{}{:05}_stats.json", kPrefix, number)) {}

std::optional<ShardStats> ShardFiles::finished() const {
  if (!fs::exists(stats_)) return {};
  ShardStats stats;
  read_fields(stats, read_json(stats_), stats_.string());
  if (stats.captioned > 0 && !fs::exists(data_)) return {};
  return stats;
}

void remove_leftovers(const fs::path& folder,
                      const std::function<bool(std::size_t number)>& wanted) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix) || name.find(".tmp") == std::string::npos) continue;
    std::size_t number = 0;
    const auto [end, error] =
        std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), number);
    if (error == std::errc() && wanted(number)) fs::remove(entry.path());
  }
}

void ShardFiles::finish(const ShardStats& stats) const {
  write_file(stats_, write_value(stats).dump(1) + "\n");
}

ShardWriter::ShardWriter(fs::path path, bool tar, bool sampled)
    : path_(std::move(path)), tar_(tar), sampled_(sampled) {}

ordered_json ShardWriter::describe(const SourcePicture& source,
                                   const FilteredPicture& filtered) const {
  ordered_json record;
  if (!tar_) record["image"] = source.image;
  for (const RankedCaption& caption : filtered.captions) {
    record["caption"].push_back(caption.text);
    record["scores"].push_back(caption.score);
    record["original"].push_back(caption.original);
  }
  if (source.image_id != source.image) record["image_id"] = source.image_id;
  if (tar_) record["source"] = source.image;
  if (sampled_) record["seed"] = filtered.seed;
  return record;
}

void ShardWriter::add(std::size_t number, const SourcePicture& source,
                      const FilteredPicture& filtered) {
  const std::string record = to_text(describe(source, filtered));
  if (tar_) {
    if (!archive_) archive_.emplace(path_);
    archive_->add(fmt::format("{:09}.{}", number, extension_of(filtered.file)), filtered.file);
    archive_->add(fmt::format("{:09}.json", number), record);
  } else {
    if (!lines_) lines_.emplace(path_);
    lines_->write(record + "\n");
  }
}

void ShardWriter::commit() {
  if (archive_) archive_->commit();
  if (lines_) lines_->commit();
}

}  // namespace blip2
