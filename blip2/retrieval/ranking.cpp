#include "blip2/retrieval/ranking.h"

#include <algorithm>

namespace blip2 {
namespace {

constexpr std::int64_t kScoresAtOnce = 1 << 25;  // of pictures' queries and texts: 128 MiB
constexpr double kAfterAll = -1e4;               // below every re-ranked score

// How many of `scores` [K] are at least as good as the best right one, itself excluded.
std::int64_t rank_of(const at::Tensor& scores, const std::vector<std::int64_t>& right) {
  const at::Tensor places = torch::tensor(right, at::kLong);
  const at::Tensor best = scores.index_select(0, places).max();
  const auto as_good = scores.ge(best).sum().item<std::int64_t>();
  const auto right_as_good = scores.index_select(0, places).ge(best).sum().item<std::int64_t>();
  return as_good - right_as_good;
}

// Rows are queries.
Recall recall_of(const at::Tensor& scores, const std::vector<std::vector<std::int64_t>>& right) {
  Recall recall;
  std::int64_t queries = 0;
  for (std::int64_t i = 0; i < scores.size(0); ++i) {
    const auto& items = right[static_cast<std::size_t>(i)];
    if (items.empty()) continue;
    const std::int64_t rank = rank_of(scores[i], items);
    recall.r1 += rank < 1;
    recall.r5 += rank < 5;
    recall.r10 += rank < 10;
    ++queries;
  }
  for (double* share : {&recall.r1, &recall.r5, &recall.r10}) {
    *share /= static_cast<double>(std::max<std::int64_t>(queries, 1));
  }
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
