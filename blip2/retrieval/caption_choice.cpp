#include "blip2/retrieval/caption_choice.h"

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/nn/batch_invariant.h"
#include "blip2/retrieval/caption_ranking.h"

namespace blip2 {
namespace {

// Those of the texts that say something new, beside each other and the names.
std::vector<GeneratedText> distinct_texts(const std::vector<std::string>& names,
                                          std::vector<GeneratedText> written) {
  std::vector<std::string> texts;
  for (const GeneratedText& text : written) texts.push_back(text.text);
  std::vector<GeneratedText> distinct;
  auto next = written.begin();
  for (const RankedCaption& caption : distinct_captions(names, texts)) {
    if (caption.original) continue;
    while (next->text != caption.text) ++next;
    distinct.push_back(std::move(*next++));
  }
  return distinct;
}

}  // namespace

CaptionChooser::CaptionChooser(const CaptionChoiceOptions& options)
    : options_(options),
      matcher_(options.model, options.precision, options.bridge, options.pictures) {
  if (!options.generate && options.names.empty()) {
    throw Error("expected candidates: texts to write, names, or both", "choice");
  }
  if (options_.names.empty()) {  // all of them are matched
    options_.ranking.rerank = options_.generation.return_sequences;
  }
  labels_ = std::make_unique<LabelList>(matcher_, options_.names, options_.ranking);
  if (!options.generate) return;
  captioner_.emplace(options.model, options.precision, options.bridge, options.pictures);
  shared_ = same_images(captioner_->images(), matcher_.images());
}

std::vector<std::vector<GeneratedText>> CaptionChooser::write(std::span<const std::string> images,
                                                              const ImageFeatures& features) const {
  if (!captioner_) return std::vector<std::vector<GeneratedText>>(images.size());
  const auto pictures =
      shared_ ? captioner_->project_images(features) : captioner_->project_images(images);
  const std::vector<Prompt> prompts(
      images.size(), options_.prompt.value_or(Prompt(captioner_->config().caption_prompt)));
  return captioner_->generate(pictures, prompts, options_.generation);
}

ChosenCaption CaptionChooser::best_of(const ImageKeysValues& picture,
                                      std::vector<GeneratedText> written) const {
  const std::vector<std::string>& names = labels_->names();
  written = distinct_texts(names, std::move(written));
  std::vector<std::string> texts;
  for (const GeneratedText& text : written) texts.push_back(text.text);
  // A model that writes nothing but empty texts has said so.
  if (texts.empty() && names.empty()) return {};
  const Label best = labels_->rank(picture, texts).front();
  ChosenCaption chosen{"", "", best.probability, best.itc, best.itm, std::nullopt};
  if (names.empty()) chosen.probability = *best.itm;
  if (best.name < names.size()) {
    chosen.text = names[best.name];
  } else {
    chosen.generated = std::move(written[best.name - names.size()]);
    chosen.text = chosen.generated->text;
  }
  return chosen;
}

std::vector<ChosenCaption> CaptionChooser::choose(std::span<const std::string> images) const {
  const at::InferenceMode inference;
  const ReadPictures pictures = matcher_.images().encode_readable(images);
  std::vector<ChosenCaption> chosen(images.size());
  for (std::size_t i = 0; i < images.size(); ++i) chosen[i].fault = pictures.failures[i];
  if (pictures.good.empty()) return chosen;
  std::vector<std::string> read;
  for (const std::size_t place : pictures.good) read.push_back(images[place]);
  auto written = write(read, pictures.features);
  batch_invariant_for(read.size(), [&](std::size_t i) {
    const at::InferenceMode alone;
    const auto features = pictures.features.alone(static_cast<std::int64_t>(i));
    try {
      chosen[pictures.good[i]] = best_of(matcher_.project_images(features), std::move(written[i]));
    } catch (const Error& error) {
      throw error.within(read[i]);
    }
  });
  return chosen;
}

void CaptionChooser::choose_in_batches(
    std::span<const std::string> images, std::int64_t batch_size,
    const std::function<void(std::size_t, ChosenCaption)>& take) const {
  const auto batch = static_cast<std::size_t>(batch_size);
  for (std::size_t begin = 0; begin < images.size(); begin += batch) {
    if (interrupted()) throw Interrupted{};
    const auto some = images.subspan(begin, std::min(batch, images.size() - begin));
    auto chosen = choose(some);
    for (std::size_t i = 0; i < some.size(); ++i) take(begin + i, std::move(chosen[i]));
  }
}

}  // namespace blip2
