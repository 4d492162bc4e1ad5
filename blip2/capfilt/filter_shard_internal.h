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

// A picture of the source with what a shard's record says about it.
struct SourcePicture : CaptionedPicture {
  std::string image_id;  // as the data has it, otherwise the picture's path
};

// Sums over a shard's pictures, as its _stats.json has them. That file is written last: its
// presence says that the shard is finished.
struct ShardStats {
  std::size_t pictures = 0, captioned = 0, generated = 0, kept = 0, originals = 0,
              originals_kept = 0;
  std::vector<std::string> bad;  // pictures that cannot be read, each with the reason

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("pictures", self.pictures, "pictures of the source");
    visit("captioned", self.captioned, "pictures with a caption left");
    visit("generated", self.generated, "captions written");
    visit("kept", self.kept, "captions left");
    visit("originals", self.originals, "captions that the data had");
    visit("originals_kept", self.originals_kept, "captions that the data had and that are left");
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

// Removes the temporary files that killed processes left behind, for the shards whose number is
// `wanted`.
void remove_leftovers(const std::filesystem::path& folder,
                      const std::function<bool(std::size_t number)>& wanted);

// Writes a shard's records, each a picture with its captions, best first, and their scores. Without
// commit() no file is left, and without a record none appears.
class ShardWriter {
 public:
  // `sampled`: the captions were drawn, so records keep the seed.
  ShardWriter(std::filesystem::path path, bool tar, bool sampled);

  // `number`: the picture's place in the source, which names it in an archive.
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
