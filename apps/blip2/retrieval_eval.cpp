#include "apps/blip2/retrieval_eval.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/retrieval/ranking.h"

namespace blip2 {
namespace {

constexpr std::size_t kAtOnce = 32;
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

// Features of all pictures, kept for matching: [N, P, D].
at::Tensor encode_all(const RetrievalModel& model, const std::vector<std::string>& images) {
  Progress progress("pictures", std::ssize(images));
  std::vector<at::Tensor> parts;
  for (std::size_t begin = 0; begin < images.size(); begin += kAtOnce) {
    if (interrupted()) throw Interrupted{};
    const auto count = std::min(kAtOnce, images.size() - begin);
    parts.push_back(model.images().encode(std::span(images).subspan(begin, count)));
    progress.update(static_cast<std::int64_t>(begin + count));
  }
  progress.finish();
  return at::cat(parts);
}

at::Tensor embed_all(const RetrievalModel& model, const at::Tensor& features) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : features.split(static_cast<std::int64_t>(kAtOnce))) {
    parts.push_back(model.embed_images(model.look(part)));
  }
  return at::cat(parts);
}

// Matching logits [R, 2] of pairs, whose keys and values are computed once for each different
// picture.
at::Tensor match_pairs(const RetrievalModel& model, const at::Tensor& features,
                       const std::vector<std::string>& texts,
                       const std::vector<std::int64_t>& images,
                       const std::vector<std::int64_t>& captions) {
  std::map<std::int64_t, std::int64_t> place;
  std::vector<std::int64_t> rows;
  std::vector<std::string> words;
  Pairs pairs;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto [at, first] = place.try_emplace(images[i], std::ssize(rows));
    if (first) rows.push_back(images[i]);
    pairs.images.push_back(at->second);
    pairs.texts.push_back(static_cast<std::int64_t>(i));
    words.push_back(texts[static_cast<std::size_t>(captions[i])]);
  }
  const auto seen = model.look(features.index_select(0, torch::tensor(rows, at::kLong)));
  return model.match(seen, model.tokenize(words), pairs);
}

ordered_json to_json(const RetrievalScores& scores) {
  const auto one = [](const Recall& recall) {
    return ordered_json{{"r1", recall.r1}, {"r5", recall.r5}, {"r10", recall.r10}};
  };
  return {{"image_to_text", one(scores.image_to_text)},
          {"text_to_image", one(scores.text_to_image)}};
}

}  // namespace

ordered_json evaluate_retrieval(const std::string& path, const RecordFile& file, std::int64_t most,
                                const Fusion& fusion) {
  const at::InferenceMode inference;
  const Collection all = collect(file);
  const RetrievalModel model(path);
  const at::Tensor features = encode_all(model, all.images);
  const at::Tensor contrast =
      contrast_scores(embed_all(model, features), model.embed_texts(model.tokenize(all.texts)));
  Progress progress("matching", std::ssize(all.images) * std::ssize(all.texts));
  std::int64_t matched = 0;
  const bool nats = fusion.kind == Fusion::probability;
  const at::Tensor scaled = nats ? contrast / model.temperature() : contrast;
  const Reranked ranked = rerank(scaled, most, [&](const auto& images, const auto& texts) {
    if (interrupted()) throw Interrupted{};
    progress.update(matched += std::ssize(images));
    const at::Tensor logits = match_pairs(model, features, all.texts, images, texts);
    return fusion.weight * (nats ? at::log_softmax(logits, 1) : logits).select(1, 1);
  });
  progress.finish();
  ordered_json result =
      to_json(recalls(ranked.texts_for_images, ranked.images_for_texts, all.relevance));
  result["itc_only"] = to_json(recalls(contrast, contrast, all.relevance));
  result["images"] = all.images.size();
  result["texts"] = all.texts.size();
  return result;
}

}  // namespace blip2
