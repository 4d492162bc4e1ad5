#include "apps/blip2/retrieval_eval.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/nn/rank_work.h"
#include "blip2/nn/ranks.h"
#include "blip2/retrieval/ranking.h"

namespace blip2 {
namespace {

constexpr std::size_t kEncodedAtOnce = 32;  // pictures or texts
constexpr std::int64_t kPairsAtOnce = 128;  // matched at a time
using nlohmann::ordered_json;

// The different pictures and captions of a file, and which belong together.
struct Collection {
  std::vector<std::string> images, texts;
  Relevance relevance;
};

Collection collect(const RecordFile& file) {
  Collection all;
  std::map<std::string, std::int64_t> image_of, text_of;
  for (const Record& record : file.records) {
    if (record.is_question()) {
      throw Error("expected a caption, got a question",
                  file.path.string() + ":" + std::to_string(record.line));
    }
    const auto [image, new_image] = image_of.try_emplace(record.image, std::ssize(all.images));
    if (new_image) {
      all.images.push_back(record.image);
      all.relevance.texts_of_image.emplace_back();
    }
    for (const std::string& caption : record.captions) {
      const auto [text, new_text] = text_of.try_emplace(caption, std::ssize(all.texts));
      if (new_text) {
        all.texts.push_back(caption);
        all.relevance.images_of_text.emplace_back();
      }
      all.relevance.texts_of_image[static_cast<std::size_t>(image->second)].push_back(text->second);
      all.relevance.images_of_text[static_cast<std::size_t>(text->second)].push_back(image->second);
    }
  }
  return all;
}

// This process's pictures: features by batches, kept for matching, and vectors.
struct OwnPictures {
  std::int64_t first = 0, count = 0;         // their numbers
  std::vector<at::Tensor> features, embeds;  // [b, P, D], [b, Q, E]
};

OwnPictures encode_own(const RetrievalModel& model, const std::vector<std::string>& images,
                       const Ranks* ranks) {
  const IndexRange part = own_part(ranks, images.size(), kEncodedAtOnce);
  OwnPictures own{
      static_cast<std::int64_t>(part.begin), static_cast<std::int64_t>(part.size()), {}, {}};
  for_own_batches(
      ranks, "pictures", images.size(), kEncodedAtOnce, [&](std::size_t begin, std::size_t count) {
        own.features.push_back(model.images().encode(std::span(images).subspan(begin, count)));
        own.embeds.push_back(model.embed_images(model.look(own.features.back())));
      });
  return own;
}

// Cosines [N, M] of all pictures and texts, everywhere the same.
at::Tensor contrast_of(const RetrievalModel& model, const Collection& all, const OwnPictures& own,
                       const Ranks* ranks) {
  std::vector<at::Tensor> rows;
  for_own_batches(ranks, "texts", all.texts.size(), kEncodedAtOnce,
                  [&](std::size_t begin, std::size_t count) {
                    const auto some = std::span(all.texts).subspan(begin, count);
                    rows.push_back(model.embed_texts(model.tokenize(some)));
                  });
  const at::Tensor images = collect_rows(ranks, own.embeds), texts = collect_rows(ranks, rows);
  const at::Tensor contrast = speaks(ranks)
                                  ? contrast_scores(images, texts)
                                  : at::empty({std::ssize(all.images), std::ssize(all.texts)});
  if (ranks) {
    ranks->wait();
    ranks->broadcast(contrast);
  }
  return contrast;
}

// Matching logits [R, 2] of pairs [R, 2] of texts and pictures, whose numbers begin at `first`.
at::Tensor match_pairs(const RetrievalModel& model, const ImageKeysValues& images,
                       std::int64_t first, const std::vector<std::string>& texts,
                       const at::Tensor& pairs) {
  Pairs places;
  std::vector<std::string> words;
  const auto numbers = pairs.accessor<std::int64_t, 2>();
  for (std::int64_t i = 0; i < pairs.size(0); ++i) {
    places.images.push_back(numbers[i][0] - first);
    places.texts.push_back(i);
    words.push_back(texts[static_cast<std::size_t>(numbers[i][1])]);
  }
  return model.match(images, model.tokenize(words), places);
}

// Matching logits of the pairs of this process's pictures. Keys and values are computed once for
// each picture.
std::vector<at::Tensor> match_own(const RetrievalModel& model, const OwnPictures& own,
                                  const std::vector<std::string>& texts, const at::Tensor& pairs,
                                  const Ranks* ranks) {
  const at::Tensor pictures = pairs.select(1, 0).contiguous();
  const auto* numbers = pictures.const_data_ptr<std::int64_t>();
  const auto begin_of = [&](std::int64_t picture) {
    return std::lower_bound(numbers, numbers + pictures.size(0), picture) - numbers;
  };
  std::optional<Progress> progress;
  const std::int64_t own_begin = begin_of(own.first);
  if (speaks(ranks)) progress.emplace("matching", begin_of(own.first + own.count) - own_begin);
  std::vector<at::Tensor> logits;
  std::int64_t first = own.first;
  for (const at::Tensor& features : own.features) {
    const ImageKeysValues images = model.look(features);
    const std::int64_t end = begin_of(first + features.size(0));
    for (std::int64_t begin = begin_of(first); begin < end; begin += kPairsAtOnce) {
      if (interrupted()) throw Interrupted{};
      if (ranks) ranks->check();
      const std::int64_t stop = std::min(end, begin + kPairsAtOnce);
      logits.push_back(match_pairs(model, images, first, texts, pairs.slice(0, begin, stop)));
      if (progress) progress->update(stop - own_begin);
    }
    first += features.size(0);
  }
  if (progress) progress->finish();
  return logits;
}

ordered_json to_json(const RetrievalScores& scores) {
  const auto one = [](const Recall& recall) {
    return ordered_json{{"r1", recall.r1}, {"r5", recall.r5}, {"r10", recall.r10}};
  };
  return {{"image_to_text", one(scores.image_to_text)},
          {"text_to_image", one(scores.text_to_image)}};
}

}  // namespace

ordered_json evaluate_retrieval(const RetrievalModel& model, const RecordFile& file,
                                std::int64_t most, const Fusion& fusion, const Ranks* ranks) {
  const at::InferenceMode inference;
  const Collection all = collect(file);
  const OwnPictures own = encode_own(model, all.images, ranks);
  const at::Tensor contrast = contrast_of(model, all, own, ranks);
  const bool nats = fusion.kind == Fusion::probability;
  const at::Tensor scaled = nats ? contrast / model.temperature() : contrast;
  const Candidates best = candidates(scaled, most);
  const at::Tensor logits =
      collect_rows(ranks, match_own(model, own, all.texts, best.pairs, ranks));  // [R, 2]
  if (!speaks(ranks)) return {};
  const at::Tensor matching = (nats ? at::log_softmax(logits, 1) : logits).select(1, 1);
  const Reranked ranked = rerank(scaled, best, fusion.weight * matching);
  ordered_json result =
      to_json(recalls(ranked.texts_for_images, ranked.images_for_texts, all.relevance));
  result["itc_only"] = to_json(recalls(contrast, contrast, all.relevance));
  result["images"] = all.images.size();
  result["texts"] = all.texts.size();
  return result;
}

}  // namespace blip2
