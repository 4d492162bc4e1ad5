#include "blip2/retrieval/ranking.h"

#include <algorithm>
#include <utility>

namespace blip2 {
namespace {

constexpr std::int64_t kScoresAtOnce = 1 << 25;  // of pictures' queries and texts: 128 MiB
constexpr double kAfterAll = -1e4;               // below every re-ranked score

// The places from 0 of the right items of `scores` [K] in their ranking, the best first.
std::vector<std::int64_t> places_of(const at::Tensor& scores,
                                    const std::vector<std::int64_t>& right) {
  const at::Tensor mine =
      std::get<0>(scores.index_select(0, torch::tensor(right, at::kLong)).sort(0, true));
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < mine.size(0); ++i) {
    const auto as_good = scores.ge(mine[i]).sum().item<std::int64_t>();
    const auto right_as_good = mine.ge(mine[i]).sum().item<std::int64_t>();
    places.push_back(as_good - right_as_good + i);
  }
  return places;
}

double average_precision_at_r(const std::vector<std::int64_t>& places) {
  double sum = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i] >= std::ssize(places)) break;
    sum += static_cast<double>(i + 1) / static_cast<double>(places[i] + 1);
  }
  return sum / static_cast<double>(places.size());
}

// The median of numbers in any order; for an even count the mean of the two in the middle.
double median(std::vector<std::int64_t> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  const auto upper = static_cast<double>(values[half]);
  return values.size() % 2 == 1 ? upper : (upper + static_cast<double>(values[half - 1])) / 2;
}

// Rows are queries.
Recall recall_of(const at::Tensor& scores, const std::vector<std::vector<std::int64_t>>& right) {
  Recall recall;
  std::vector<std::int64_t> ranks;
  for (std::int64_t i = 0; i < scores.size(0); ++i) {
    const auto& items = right[static_cast<std::size_t>(i)];
    if (items.empty()) continue;
    const auto places = places_of(scores[i], items);
    recall.r1 += places[0] < 1;
    recall.r5 += places[0] < 5;
    recall.r10 += places[0] < 10;
    recall.mean_rank += static_cast<double>(places[0] + 1);
    recall.map_at_r += average_precision_at_r(places);
    ranks.push_back(places[0] + 1);
  }
  for (double* sum : {&recall.r1, &recall.r5, &recall.r10, &recall.mean_rank, &recall.map_at_r}) {
    *sum /= static_cast<double>(std::max<std::size_t>(ranks.size(), 1));
  }
  recall.median_rank = median(std::move(ranks));
  return recall;
}

}  // namespace

at::Tensor contrast_scores(const at::Tensor& images, const at::Tensor& texts) {
  const at::Tensor transposed = texts.t();  // [E, M]
  const std::int64_t scores_a_picture = std::max<std::int64_t>(images.size(1) * texts.size(0), 1);
  std::vector<at::Tensor> blocks;
  for (const at::Tensor& block :
       images.split(std::max<std::int64_t>(kScoresAtOnce / scores_a_picture, 1))) {
    blocks.push_back(at::amax(at::matmul(block, transposed), 1));  // [b, Q, M] -> [b, M]
  }
  return at::cat(blocks);
}

Candidates candidates(const at::Tensor& contrast, std::int64_t most) {
  const std::int64_t images = contrast.size(0), texts = contrast.size(1);
  const at::Tensor best_texts = std::get<1>(contrast.topk(std::min(most, texts), 1));
  const at::Tensor best_images = std::get<1>(contrast.topk(std::min(most, images), 0));
  const at::Tensor none = at::zeros({images, texts}, at::kBool);
  Candidates result{none.scatter(1, best_texts, true), none.scatter(0, best_images, true), {}};
  result.pairs = at::nonzero(result.for_images.logical_or(result.for_texts)).contiguous();
  return result;
}

Reranked rerank(const at::Tensor& contrast, const Candidates& candidates,
                const at::Tensor& matching) {
  const at::Tensor images = candidates.pairs.select(1, 0), texts = candidates.pairs.select(1, 1);
  const at::Tensor scores =
      at::full(contrast.sizes(), kAfterAll)
          .index_put({images, texts}, matching + contrast.index({images, texts}));
  return {scores.masked_fill(candidates.for_images.logical_not(), kAfterAll),
          scores.masked_fill(candidates.for_texts.logical_not(), kAfterAll)};
}

RetrievalScores recalls(const at::Tensor& texts_for_images, const at::Tensor& images_for_texts,
                        const Relevance& relevance) {
  return {recall_of(texts_for_images, relevance.texts_of_image),
          recall_of(images_for_texts.t(), relevance.images_of_text)};
}

}  // namespace blip2
