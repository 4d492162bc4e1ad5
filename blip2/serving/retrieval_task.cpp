#include "blip2/serving/retrieval_task_internal.h"

#include <ATen/ops/softmax.h>

#include <algorithm>
#include <numeric>

#include "blip2/qformer/stage1_heads.h"

namespace blip2 {
namespace {

constexpr std::size_t kPicturesAtOnce = 8;  // that are encoded between two tokens of other jobs

Embedding embedding_of(const at::Tensor& rows, std::int64_t tokens) {  // [n, E]
  const at::Tensor values = rows.to(at::kFloat).contiguous();
  const auto* data = values.const_data_ptr<float>();
  return {values.size(0), values.size(1), {data, data + values.numel()}, tokens};
}

}  // namespace

ImageKeysValues RetrievalTask::projected(std::size_t picture) const {
  return models_.retrieving()->project_images(
      models_.features_for(*ticket_, ticket_->pictures[picture].known));
}

void RetrievalTask::see_pictures() {
  const std::size_t end = std::min(seen_ + kPicturesAtOnce, ticket_->pictures.size());
  std::vector<PreparedPicture*> some;
  for (; seen_ < end; ++seen_) some.push_back(&ticket_->pictures[seen_]);
  models_.see(some, /*for_text=*/false, cache_);
}

void RetrievalTask::embed_pictures() {
  const std::size_t end = std::min(pictures_.size() + kPicturesAtOnce, ticket_->pictures.size());
  while (pictures_.size() < end) {
    const at::Tensor vectors = models_.retrieving()->embed_images(projected(pictures_.size()));
    pictures_.push_back(embedding_of(vectors[0], vectors.size(1)));
  }
}

void RetrievalTask::embed_texts() {
  const TextRows& rows = ticket_->texts[vectors_.size()];
  vectors_.push_back(models_.retrieving()->embed_texts(rows));
  if (!ticket_->embedding) return;
  for (std::int64_t i = 0; i < rows.texts(); ++i) {
    texts_.push_back(
        embedding_of(vectors_.back().narrow(0, i, 1), rows.lengths[static_cast<std::size_t>(i)]));
  }
}

// As `match` computes a picture's scores.
void RetrievalTask::score_picture() {
  const RetrievalModel& model = *models_.retrieving();
  const ImageKeysValues picture = projected(scores_.size());
  const at::Tensor queries = model.embed_images(picture);
  std::vector<MatchScore>& scores = scores_.emplace_back();
  for (std::size_t i = 0; i < vectors_.size(); ++i) {
    const auto count = static_cast<std::size_t>(vectors_[i].size(0));
    Pairs pairs{std::vector<std::int64_t>(count, 0), std::vector<std::int64_t>(count)};
    std::iota(pairs.texts.begin(), pairs.texts.end(), 0);
    const at::Tensor cosine = best_cosine(queries, vectors_[i])[0];  // [count]
    const at::Tensor matched =
        at::softmax(model.match(picture, ticket_->texts[i], pairs), 1).select(1, 1);  // [count]
    for (std::int64_t t = 0; t < vectors_[i].size(0); ++t) {
      scores.push_back({cosine[t].item<double>(), matched[t].item<double>()});
    }
  }
}

bool RetrievalTask::step() {
  const std::size_t pictures = ticket_->pictures.size(), texts = ticket_->texts.size();
  if (seen_ < pictures) {
    see_pictures();
  } else if (vectors_.size() < texts) {
    embed_texts();
  } else if (ticket_->embedding && pictures_.size() < pictures) {
    embed_pictures();
  } else if (ticket_->score && scores_.size() < pictures) {
    score_picture();
  }
  const bool compared =
      ticket_->embedding ? pictures_.size() == pictures : scores_.size() == pictures;
  return seen_ == pictures && vectors_.size() == texts && compared;
}

void RetrievalTask::tell(Tally& tally) {
  if (EmbeddingJob* job = ticket_->embedding) {
    return tally.finish(*ticket_, [&] {
      if (job->on_done) job->on_done({std::move(pictures_), std::move(texts_)});
    });
  }
  std::int64_t tokens = 0;
  for (const TextRows& rows : ticket_->texts) tokens += rows.ids.size(0);
  tally.finish(*ticket_, [&] {
    if (ticket_->score->on_done) ticket_->score->on_done({std::move(scores_), tokens});
  });
}

}  // namespace blip2
