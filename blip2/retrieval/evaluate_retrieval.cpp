#include "blip2/retrieval/evaluate_retrieval.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/processes/rank_work.h"
#include "blip2/processes/ranks.h"

namespace blip2 {
namespace {

constexpr std::size_t kEncodedAtOnce = 32;  // pictures or texts
constexpr std::int64_t kPairsAtOnce = 128;  // matched at a time
constexpr double kLeftOut = -1e6;           // a score below every other

// The pictures and captions of a file, and which belong together. Captions that read the same are
// one text, or one for each picture.
struct Collection {
  std::vector<std::string> images, texts;
  Relevance relevance;
};

Collection collect(const RecordFile& file, SharedCaptions shared) {
  Collection all;
  std::map<std::string, std::int64_t> image_of, text_of;
  std::map<std::string, std::vector<std::int64_t>> same;
  std::vector<std::vector<std::string>> captions_of;
  for (const Record& record : file.records) {
    if (record.is_question()) {
      throw Error("expected a caption, got a question",
                  file.path.string() + ":" + std::to_string(record.line));
    }
    const auto [image, new_image] = image_of.try_emplace(record.image, std::ssize(all.images));
    if (new_image) {
      all.images.push_back(record.image);
      captions_of.emplace_back();
    }
    for (const std::string& caption : record.captions) {
      const auto [text, new_text] = text_of.try_emplace(caption, std::ssize(all.texts));
      if (shared == SharedCaptions::own) text->second = std::ssize(all.texts);
      if (text->second == std::ssize(all.texts)) {
        all.texts.push_back(caption);
        all.relevance.images_of_text.emplace_back();
        same[caption].push_back(text->second);
      }
      captions_of[static_cast<std::size_t>(image->second)].push_back(caption);
      all.relevance.images_of_text[static_cast<std::size_t>(text->second)].push_back(image->second);
    }
  }
  // Texts that read the same score the same: none of them is wrong for a picture that has one.
  for (const auto& captions : captions_of) {
    auto& texts = all.relevance.texts_of_image.emplace_back();
    for (const std::string& caption : captions) {
      texts.insert(texts.end(), same[caption].begin(), same[caption].end());
    }
    std::sort(texts.begin(), texts.end());
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  }
  return all;
}

// This process's pictures: features by batches, kept for matching, and vectors.
struct OwnPictures {
  std::int64_t first = 0, count = 0;  // their numbers
  std::vector<ImageFeatures> features;
  std::vector<at::Tensor> embeds;     // [b, Q, E]
  std::vector<std::string> failures;  // of each picture; its features are zeros
};

// Features of a batch, zeros where a picture cannot be read.
ImageFeatures with_zeros(const ReadPictures& read, std::int64_t positions) {
  if (read.good.size() == read.failures.size()) return read.features;
  std::vector<ImageFeatures> all(
      read.failures.size(), ImageFeatures(at::zeros({1, positions, read.features.rows.size(1)})));
  for (std::size_t i = 0; i < read.good.size(); ++i) {
    all[read.good[i]] = read.features.alone(static_cast<std::int64_t>(i));
  }
  return join(all);
}

OwnPictures encode_own(const RetrievalModel& model, const std::vector<std::string>& images,
                       const Ranks* ranks) {
  const IndexRange part = own_part(ranks, images.size(), kEncodedAtOnce);
  OwnPictures own{
      static_cast<std::int64_t>(part.begin), static_cast<std::int64_t>(part.size()), {}, {}, {}};
  const std::int64_t positions = model.images().encoder().positions();
  for_own_batches(
      ranks, "pictures", images.size(), kEncodedAtOnce, [&](std::size_t begin, std::size_t count) {
        const auto some = std::span(images).subspan(begin, count);
        const ReadPictures read = model.images().encode_readable(some);
        own.failures.insert(own.failures.end(), read.failures.begin(), read.failures.end());
        own.features.push_back(with_zeros(read, positions));
        own.embeds.push_back(model.embed_images(model.project_images(own.features.back())));
      });
  return own;
}

// Which pictures cannot be read, and why, everywhere the same.
std::vector<std::string> failures_of(const OwnPictures& own, std::size_t images,
                                     const Ranks* ranks) {
  std::vector<std::string> failures = collect_texts(ranks, own.failures);
  if (!ranks) return failures;
  failures.resize(images);
  at::Tensor bad = at::zeros({static_cast<std::int64_t>(images)}, at::kByte);
  auto* flags = bad.mutable_data_ptr<std::uint8_t>();
  for (std::size_t i = 0; i < images; ++i) flags[i] = failures[i].empty() ? 0 : 1;
  ranks->broadcast(bad);
  for (std::size_t i = 0; i < images; ++i) {
    if (flags[i] != 0 && failures[i].empty()) failures[i] = "cannot be read";
  }
  return failures;
}

// Takes pictures that cannot be read, and texts that belong to them alone, out of what is right and
// puts them behind all others. Gives how many pictures and texts are left.
std::pair<std::int64_t, std::int64_t> leave_out(Collection& all, at::Tensor& contrast,
                                                const std::vector<std::string>& failures) {
  Relevance& relevance = all.relevance;
  const auto is_bad = [&](std::int64_t image) {
    return !failures[static_cast<std::size_t>(image)].empty();
  };
  std::int64_t images = 0, texts = 0;
  for (std::int64_t i = 0; i < std::ssize(all.images); ++i) {
    images += is_bad(i) ? 0 : 1;
    if (!is_bad(i)) continue;
    relevance.texts_of_image[static_cast<std::size_t>(i)].clear();
    contrast.select(0, i).fill_(kLeftOut);
  }
  for (std::int64_t t = 0; t < std::ssize(all.texts); ++t) {
    auto& right = relevance.images_of_text[static_cast<std::size_t>(t)];
    std::erase_if(right, is_bad);
    texts += right.empty() ? 0 : 1;
    if (right.empty()) contrast.select(1, t).fill_(kLeftOut);
  }
  return {images, texts};
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
  const at::Tensor contrast = is_main_process(ranks)
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
  if (is_main_process(ranks))
    progress.emplace("matching", begin_of(own.first + own.count) - own_begin);
  std::vector<at::Tensor> logits;
  std::int64_t first = own.first;
  for (const ImageFeatures& features : own.features) {
    const ImageKeysValues images = model.project_images(features);
    const std::int64_t end = begin_of(first + features.images());
    for (std::int64_t begin = begin_of(first); begin < end; begin += kPairsAtOnce) {
      if (interrupted()) throw Interrupted{};
      if (ranks) ranks->check();
      const std::int64_t stop = std::min(end, begin + kPairsAtOnce);
      logits.push_back(match_pairs(model, images, first, texts, pairs.slice(0, begin, stop)));
      if (progress) progress->update(stop - own_begin);
    }
    first += features.images();
  }
  if (progress) progress->finish();
  return logits;
}

// Pictures in a row and the texts that belong to them, ranked among themselves.
struct Fold {
  std::int64_t first, count;  // the pictures
  at::Tensor texts;           // [M'] int64: the texts' numbers; undefined: all
  Relevance relevance;        // by numbers within the fold

  at::Tensor of(const at::Tensor& contrast) const {  // [N, M] -> [count, M']
    const at::Tensor rows = contrast.slice(0, first, first + count);
    return texts.defined() ? rows.index_select(1, texts) : rows;
  }
};

// The fold of pictures [first, first + count).
Fold fold_of(const Collection& all, std::int64_t first, std::int64_t count) {
  Fold fold{first, count, {}, {}};
  fold.relevance.texts_of_image.resize(static_cast<std::size_t>(count));
  std::vector<std::int64_t> texts;
  for (std::int64_t t = 0; t < std::ssize(all.texts); ++t) {
    std::vector<std::int64_t> images;
    for (const std::int64_t image : all.relevance.images_of_text[static_cast<std::size_t>(t)]) {
      if (image >= first && image < first + count) images.push_back(image - first);
    }
    if (!images.empty()) {
      texts.push_back(t);
      fold.relevance.images_of_text.push_back(std::move(images));
    }
  }
  std::map<std::int64_t, std::int64_t> places;
  for (std::size_t i = 0; i < texts.size(); ++i) places[texts[i]] = static_cast<std::int64_t>(i);
  for (std::int64_t i = 0; i < count; ++i) {
    for (const std::int64_t t : all.relevance.texts_of_image[static_cast<std::size_t>(first + i)]) {
      const auto place = places.find(t);
      if (place == places.end()) continue;
      fold.relevance.texts_of_image[static_cast<std::size_t>(i)].push_back(place->second);
    }
  }
  fold.texts = torch::tensor(texts, at::kLong);
  return fold;
}

// What the scores of a fold are computed with.
struct Measuring {
  const RetrievalModel& model;
  const Collection& all;
  const OwnPictures& own;
  const at::Tensor& contrast;
  std::int64_t most;
  Fusion fusion;
  const Ranks* ranks;
};

// A fold's recalls: re-ranked, and by contrast alone; nothing but at rank 0.
RetrievalRecalls measure(const Measuring& with, const Fold& fold) {
  const bool nats = with.fusion.kind == Fusion::probability;
  const at::Tensor contrast = fold.of(with.contrast);
  const at::Tensor scaled = nats ? contrast / with.model.temperature() : contrast;
  const Candidates best = candidates(scaled, with.most);
  at::Tensor texts = best.pairs.select(1, 1);
  if (fold.texts.defined()) texts = fold.texts.index_select(0, texts);
  const at::Tensor pairs = at::stack({best.pairs.select(1, 0) + fold.first, texts}, 1).contiguous();
  const at::Tensor logits = collect_rows(
      with.ranks, match_own(with.model, with.own, with.all.texts, pairs, with.ranks));  // [R, 2]
  if (!is_main_process(with.ranks)) return {};
  const at::Tensor matching = (nats ? at::log_softmax(logits, 1) : logits).select(1, 1);
  const Reranked ranked = rerank(scaled, best, with.fusion.weight * matching);
  return {recalls(ranked.texts_for_images, ranked.images_for_texts, fold.relevance),
          recalls(contrast, contrast, fold.relevance)};
}

void add_share(Recall& sum, const Recall& recall, double share) {
  for (const auto part : {&Recall::r1, &Recall::r5, &Recall::r10, &Recall::mean_rank,
                          &Recall::median_rank, &Recall::map_at_r}) {
    sum.*part += share * recall.*part;
  }
}

// The means over folds of the pictures in their order, as COCO's five times a thousand.
RetrievalRecalls measure_folds(const Measuring& with, std::int64_t folds) {
  const std::int64_t images = std::ssize(with.all.images);
  if (folds > images) {
    throw Error(fmt::format("expected at most {} folds of as many pictures, got {}", images, folds),
                "--folds");
  }
  RetrievalRecalls mean;
  for (std::int64_t i = 0; i < folds; ++i) {
    const std::int64_t first = i * images / folds, end = (i + 1) * images / folds;
    const RetrievalRecalls one = measure(with, fold_of(with.all, first, end - first));
    for (const auto kind : {&RetrievalRecalls::reranked, &RetrievalRecalls::by_contrast}) {
      for (const auto way : {&RetrievalScores::image_to_text, &RetrievalScores::text_to_image}) {
        add_share(mean.*kind.*way, one.*kind.*way, 1. / static_cast<double>(folds));
      }
    }
  }
  return mean;
}

}  // namespace

RetrievalResult evaluate_retrieval(const RetrievalModel& model, const RecordFile& file,
                                   const RetrievalOptions& options, const Ranks* ranks) {
  const at::InferenceMode inference;
  Collection all = collect(file, options.shared);
  const OwnPictures own = encode_own(model, all.images, ranks);
  const auto failures = failures_of(own, all.images.size(), ranks);
  at::Tensor contrast = contrast_of(model, all, own, ranks);
  RetrievalResult result;
  std::tie(result.images, result.texts) = leave_out(all, contrast, failures);
  const Measuring with{model, all, own, contrast, options.rerank, options.fusion, ranks};
  result.recalls = measure(with, {0, std::ssize(all.images), {}, all.relevance});
  if (options.folds > 1) result.in_folds = measure_folds(with, options.folds);
  if (!is_main_process(ranks)) return {};
  for (std::size_t i = 0; i < failures.size(); ++i) {
    if (!failures[i].empty()) result.unreadable[all.images[i]] = failures[i];
  }
  return result;
}

}  // namespace blip2
