#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/capfilt/caption_filter.h"
#include "blip2/io/tar_writer.h"

namespace blip2 {

// A picture of the source with what is to be said of it in a shard.
struct SourcePicture : CaptionedPicture {
  std::string image_id;  // as the data say it, otherwise the picture itself
};

// Sums over a shard's pictures; its _stats.json. That file is written last: it says that the shard
// is finished.
struct ShardStats {
  std::size_t pictures = 0, captioned = 0, generated = 0, kept = 0, originals = 0,
              originals_kept = 0;
  std::vector<std::string> bad;  // pictures that cannot be read, and why

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("pictures", self.pictures, "of the source");
    visit("captioned", self.captioned, "pictures with a caption left");
    visit("generated", self.generated, "captions written");
    visit("kept", self.kept, "captions left");
    visit("originals", self.originals, "captions that the data had");
    visit("originals_kept", self.originals_kept, "those of them that are left");
    visit("bad", self.bad, "pictures that cannot be read");
  }
};

// The files of one shard.
class ShardFiles {
 public:
  ShardFiles(const std::filesystem::path& folder, std::size_t number, bool tar);

  const std::filesystem::path& data() const { return data_; }
  // The stats of the shard if it is finished; Error if their file is damaged.
  std::optional<ShardStats> finished() const;
  void finish(const ShardStats& stats) const;

 private:
  std::filesystem::path data_, stats_;
};

// Removes what processes that were killed have left of some shards under temporary names.
void remove_leftovers(const std::filesystem::path& folder,
                      const std::function<bool(std::size_t number)>& wanted);

// Writes a shard's records: a picture with its captions, best first, and their scores. Nothing is
// left of it without commit(), and nothing appears if there was no record.
class ShardWriter {
 public:
  // `sampled`: the captions were drawn, so that their seed is worth keeping.
  ShardWriter(std::filesystem::path path, bool tar, bool sampled);

  // `number`: of the picture in the source, which names it in an archive.
  void add(std::size_t number, const SourcePicture& source, const FilteredPicture& filtered);
  void commit();

 private:
  nlohmann::ordered_json describe(const SourcePicture& source,
                                  const FilteredPicture& filtered) const;

  std::filesystem::path path_;
  bool tar_, sampled_;
  std::optional<TarWriter> archive_;
  std::optional<AtomicFile> lines_;
};

}  // namespace blip2
