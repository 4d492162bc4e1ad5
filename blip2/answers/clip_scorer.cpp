#include "blip2/answers/clip_scorer.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"
#include "blip2/model/clip_model.h"

namespace blip2 {
namespace {

constexpr std::size_t kPicturesAtOnce = 32, kItemsAtOnce = 32;

class ClipScorer {
 public:
  explicit ClipScorer(const std::string& folder) : model_(folder) {}

  std::vector<ClipResult> score(std::span<const ClipItem> items) {
    see_pictures(items);
    Progress progress("texts", std::ssize(items));
    std::vector<ClipResult> results;
    for (std::size_t begin = 0; begin < items.size(); begin += kItemsAtOnce) {
      if (interrupted()) throw Interrupted{};
      score_some(items.subspan(begin, std::min(kItemsAtOnce, items.size() - begin)), results);
      progress.update(std::ssize(results));
    }
    progress.finish();
    return results;
  }

 private:
  struct Picture {
    at::Tensor vector;  // [E]
    std::string failure;
  };

  // Embeds the items' pictures that are new, each once.
  void see_pictures(std::span<const ClipItem> items) {
    std::vector<std::string> fresh;
    for (const ClipItem& item : items) {
      if (pictures_.try_emplace(item.image).second) fresh.push_back(item.image);
    }
    Progress progress("pictures", std::ssize(fresh));
    for (std::size_t begin = 0; begin < fresh.size(); begin += kPicturesAtOnce) {
      if (interrupted()) throw Interrupted{};
      const std::size_t count = std::min(kPicturesAtOnce, fresh.size() - begin);
      const auto some = std::span<const std::string>(fresh).subspan(begin, count);
      const ReadFiles<at::Tensor> read = model_.embed_images(some);
      for (std::size_t i = 0; i < count; ++i) pictures_[some[i]].failure = read.failures[i];
      for (std::size_t i = 0; i < read.good.size(); ++i) {
        pictures_[some[read.good[i]]].vector = read.features[static_cast<std::int64_t>(i)];
      }
      progress.update(static_cast<std::int64_t>(begin + count));
    }
    progress.finish();
  }

  void score_some(std::span<const ClipItem> items, std::vector<ClipResult>& results) const {
    std::vector<std::string> texts;  // for each item with a picture: the caption, its references
    for (const ClipItem& item : items) {
      if (!pictures_.at(item.image).failure.empty()) continue;
      texts.push_back(kClipPrompt + item.caption);
      for (const std::string& reference : item.references) {
        texts.push_back(kClipPrompt + reference);
      }
    }
    const at::Tensor vectors = model_.embed_texts(texts);  // [T, E]
    std::int64_t at = 0;
    for (const ClipItem& item : items) {
      const Picture& picture = pictures_.at(item.image);
      results.push_back({{}, picture.failure});
      if (!picture.failure.empty()) continue;
      const at::Tensor caption = vectors[at];
      const std::int64_t end = at + 1 + std::ssize(item.references);
      std::vector<double> cosines;
      for (++at; at < end; ++at) cosines.push_back(cosine(caption, vectors[at]));
      results.back().score = clip_score(cosine(caption, picture.vector), cosines);
    }
  }

  static double cosine(const at::Tensor& a, const at::Tensor& b) {  // of unit vectors [E]
    return a.dot(b).item<double>();
  }

  ClipModel model_;
  std::unordered_map<std::string, Picture> pictures_;
};

}  // namespace

ScoreByClip open_clip(const std::string& folder) {
  const auto scorer = std::make_shared<ClipScorer>(folder);
  return [scorer](std::span<const ClipItem> items) { return scorer->score(items); };
}

}  // namespace blip2
