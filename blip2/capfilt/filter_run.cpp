#include "blip2/capfilt/filter_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/base/progress.h"
#include "blip2/capfilt/filter_settings_internal.h"
#include "blip2/capfilt/filter_shard_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::size_t kNamed = 20;  // bad pictures that are named one by one

// The source's pictures, each once, in order, and how many are known to be bad.
struct Source {
  std::vector<SourcePicture> pictures;
  std::size_t bad = 0;
};

Source read_source_pictures(const FilterRunOptions& options) {
  RecordFile file = read_records(options.data, RecordUse::pictures, {.share = options.bad_share});
  if (!options.tar) {
    std::map<std::string, std::string> nameless;
    for (const Record& record : file.records) {
      if (is_utf8(record.image)) continue;
      nameless[record.image] = printable(record.image) + ": the name is not UTF-8; use tar shards";
    }
    drop_pictures(file, nameless, {.share = options.bad_share});
  }
  if (const std::string bad = describe_bad_records(file); !bad.empty()) log_warning("{}", bad);
  Source source{{}, file.bad.size()};
  std::unordered_map<std::string, std::size_t> places;
  for (Record& record : file.records) {
    const auto [found, fresh] = places.emplace(record.image, source.pictures.size());
    if (fresh) source.pictures.push_back({{record.image, {}}, std::move(record.image_id)});
    auto& captions = source.pictures[found->second].captions;
    std::move(record.captions.begin(), record.captions.end(), std::back_inserter(captions));
  }
  return source;
}

class FilterRun {
 public:
  explicit FilterRun(const FilterRunOptions& options)
      : options_(options), source_(read_source_pictures(options)) {}

  FilterRunResult run() {
    claim_folder(options_.output, settings_of(options_, source_.pictures));
    remove_leftovers(options_.output, [&](std::size_t shard) { return is_mine(shard); });
    const std::vector<std::size_t> unfinished = take_finished();
    const std::size_t pictures = result_.pictures + sizes(unfinished);
    Progress progress("capfilt", static_cast<std::int64_t>(pictures),
                      static_cast<std::int64_t>(result_.pictures));
    if (!unfinished.empty()) open_models();
    for (const std::size_t shard : unfinished) do_shard(shard, progress);
    progress.finish(note(result_.kept, result_.bad));
    return result_;
  }

 private:
  bool is_mine(std::size_t shard) const { return shard % options_.processes == options_.process; }
  std::size_t shard_begin(std::size_t shard) const {
    return std::min(shard * options_.shard_size, source_.pictures.size());
  }
  std::size_t size_of(std::size_t shard) const {
    return shard_begin(shard + 1) - shard_begin(shard);
  }
  std::size_t sizes(const std::vector<std::size_t>& shards) const {
    std::size_t sum = 0;
    for (const std::size_t shard : shards) sum += size_of(shard);
    return sum;
  }
  ShardFiles files_of(std::size_t shard) const { return {options_.output, shard, options_.tar}; }
  static std::string note(std::size_t kept, std::size_t bad) {
    return fmt::format("{} captions kept, {} pictures bad", kept, bad);
  }

  // This process's unfinished shards; the sums of its finished shards go into the result.
  std::vector<std::size_t> take_finished() {
    std::vector<std::size_t> unfinished;
    for (std::size_t shard = options_.process; shard_begin(shard) < source_.pictures.size();
         shard += options_.processes) {
      const ShardFiles files = files_of(shard);
      const auto stats = files.finished();
      if (!stats) {
        unfinished.push_back(shard);
        continue;
      }
      if (!options_.resume) {
        throw Error("is there already", files.data().string(),
                    "--resume keeps what is finished; or use another folder");
      }
      add(*stats);
    }
    return unfinished;
  }

  void add(const ShardStats& stats) {
    ++result_.shards;
    result_.pictures += stats.pictures;
    result_.bad += stats.bad.size();
    result_.captioned += stats.captioned;
    result_.generated += stats.generated;
    result_.kept += stats.kept;
    result_.originals += stats.originals;
    result_.originals_kept += stats.originals_kept;
  }

  void open_models() {
    filter_.emplace(options_.filter);
    if (options_.filter.generate && !filter_->encodes_once()) {
      log_info("captioner and matcher see pictures differently: each is encoded twice");
    }
  }

  void do_shard(std::size_t shard, Progress& progress) {
    const ShardFiles files = files_of(shard);
    ShardWriter writer(files.data(), options_.tar,
                       options_.filter.generate && options_.filter.generation.sample);
    ShardStats stats;
    const std::size_t end = shard_begin(shard + 1);
    for (std::size_t begin = shard_begin(shard); begin < end; begin += options_.batch_size) {
      if (interrupted()) throw Interrupted{};
      const std::size_t count = std::min(options_.batch_size, end - begin);
      do_batch(begin, count, writer, stats);
      progress.update(static_cast<std::int64_t>(result_.pictures + stats.pictures),
                      note(result_.kept + stats.kept, result_.bad + stats.bad.size()));
    }
    writer.commit();
    files.finish(stats);
    add(stats);
  }

  void do_batch(std::size_t begin, std::size_t count, ShardWriter& writer, ShardStats& stats) {
    const std::vector<CaptionedPicture> batch(source_.pictures.begin() + begin,
                                              source_.pictures.begin() + begin + count);
    const std::vector<FilteredPicture> filtered = filter_->filter(batch);
    for (std::size_t i = 0; i < count; ++i) {
      const FilteredPicture& picture = filtered[i];
      ++stats.pictures;
      if (!picture.fault.empty()) {
        stats.bad.push_back(picture.fault);
        check_bad(picture.fault, result_.bad + stats.bad.size());
        continue;
      }
      stats.generated += picture.generated;
      stats.originals += batch[i].captions.size();
      if (picture.captions.empty()) continue;
      ++stats.captioned;
      stats.kept += picture.captions.size();
      stats.originals_kept += std::ranges::count(picture.captions, true, &RankedCaption::original);
      writer.add(begin + i, source_.pictures[begin + i], picture);
    }
  }

  // `bad` pictures so far, the one with this fault included.
  void check_bad(const std::string& fault, std::size_t bad) const {
    const std::size_t total = source_.pictures.size() + source_.bad, all = bad + source_.bad;
    if (static_cast<double>(all) > options_.bad_share * static_cast<double>(total)) {
      throw Error(fmt::format("more than {:g} % of {} pictures are bad; the last: {}",
                              100 * options_.bad_share, total, fault),
                  options_.data, "mend them, or allow a larger --bad-share");
    }
    if (bad <= kNamed) log_warning("{}", fault);
    if (bad == kNamed) log_warning("further bad pictures are named in the shards' stats only");
  }

  const FilterRunOptions& options_;
  Source source_;
  std::optional<CaptionFilter> filter_;
  FilterRunResult result_;
};

}  // namespace

FilterRunResult run_caption_filter(const FilterRunOptions& options) {
  const at::InferenceMode inference;
  return FilterRun(options).run();
}

}  // namespace blip2
