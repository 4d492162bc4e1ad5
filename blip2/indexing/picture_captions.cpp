#include "blip2/indexing/picture_captions.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "blip2/base/log.h"
#include "blip2/base/progress.h"
#include "blip2/indexing/picture_rounds.h"
#include "blip2/model/batched_generation.h"
#include "blip2/model/generation_config.h"
#include "blip2/processes/rank_work.h"

namespace blip2 {
namespace {

constexpr std::size_t kCaptionsAtOnce = 8;  // pictures of a process
constexpr char kCaption = 'c', kFailure = 'f';

// The first file of each picture.
std::map<std::int64_t, std::string> paths_of(const PictureIndex& index) {
  constexpr std::int64_t kPage = 10'000;
  std::map<std::int64_t, std::string> paths;
  for (std::int64_t first = 0; first < index.files(); first += kPage) {
    for (FileFacts& file : index.list_files(/*bad=*/false, first, kPage)) {
      paths.try_emplace(file.picture.value(), std::move(file.path));
    }
  }
  return paths;
}

// Those of `blip2 caption`, with the model's own settings.
GenerationOptions generation_of(const std::string& model) {
  constexpr std::int64_t kBeams = 5, kUnset = -1;
  GenerationOptions options;
  options.beams = kUnset;
  apply_generation_config(
      model, [](std::string_view key) { return key == "return_sequences"; }, options);
  if (options.beams == kUnset) options.beams = options.sample ? 1 : kBeams;
  validate(options);
  return options;
}

// A mark and a caption, or the reason why there is none, for each picture.
std::vector<std::string> write_captions(const GenerationModel& model,
                                        const GenerationOptions& options,
                                        std::span<const std::string> paths) {
  std::vector<PromptedImage> asked;
  for (const std::string& path : paths) asked.push_back({path, model.config().caption_prompt});
  std::vector<std::string> texts(paths.size());
  generate_in_batches(
      model, asked, options, kCaptionsAtOnce,
      [&](std::size_t i, const std::vector<GeneratedText>& written) {
        texts[i] = kCaption + written.front().text;
      },
      [&](std::size_t i, const std::string& failure) { texts[i] = kFailure + failure; });
  return texts;
}

}  // namespace

std::vector<UncaptionedPicture> uncaptioned_pictures(const std::string& folder) {
  const auto index = PictureIndex::open(folder);
  std::vector<UncaptionedPicture> pictures;
  for (auto& [picture, path] : paths_of(*index)) {
    if (index->facts(picture).caption.empty()) pictures.push_back({picture, path});
  }
  return pictures;
}

std::map<ContentHash, std::string> captions_of(const PictureIndex& index) {
  std::map<ContentHash, std::string> captions;
  for (const auto& [picture, path] : paths_of(index)) {
    const PictureFacts facts = index.facts(picture);
    if (!facts.caption.empty()) captions[facts.content] = facts.caption;
  }
  return captions;
}

void caption_pictures(const IndexOptions& options, const Ranks* ranks,
                      const std::vector<UncaptionedPicture>& pictures,
                      const std::function<void(std::int64_t, const std::string&)>& set) {
  std::vector<std::string> paths;
  for (const UncaptionedPicture& one : pictures) paths.push_back(one.path);
  paths = share_texts(ranks, paths);
  if (paths.empty()) return;
  const GenerationModel model(options.model, options.precision, options.bridge, options.pictures);
  const GenerationOptions generation = generation_of(options.model);
  std::optional<Progress> progress;
  if (is_main_process(ranks)) progress.emplace("captions", std::ssize(paths));
  const std::size_t at_once = kCaptionsAtOnce * static_cast<std::size_t>(ranks ? ranks->size() : 1);
  for (std::size_t begin = 0; begin < paths.size(); begin += at_once) {
    const std::span round =
        std::span(paths).subspan(begin, std::min(at_once, paths.size() - begin));
    const IndexRange part = own_part(ranks, round.size(), kCaptionsAtOnce);
    const auto texts = collect_texts(
        ranks, write_captions(model, generation, round.subspan(part.begin, part.size())));
    for (std::size_t i = 0; i < texts.size(); ++i) {  // at the main process
      const std::string text = texts[i].substr(1);
      if (texts[i].front() == kFailure) log_warning("{}", text);
      if (texts[i].front() == kCaption && !text.empty()) set(pictures[begin + i].picture, text);
    }
    if (progress) progress->update(static_cast<std::int64_t>(begin + round.size()));
  }
  if (progress) progress->finish();
}

}  // namespace blip2
