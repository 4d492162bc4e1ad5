#include "blip2/retrieval/labels.h"

#include <ATen/ops/softmax.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/io/utf8.h"
#include "blip2/model/prompts.h"
#include "blip2/qformer/stage1_heads.h"

namespace blip2 {
namespace {

constexpr std::size_t kLabelTextsAtOnce = 128;

// log(sum(exp(values))) over some places.
template <typename Value>
double log_sum(std::size_t count, const Value& value) {
  double greatest = -INFINITY, sum = 0;
  for (std::size_t i = 0; i < count; ++i) greatest = std::max(greatest, value(i));
  for (std::size_t i = 0; i < count; ++i) sum += std::exp(value(i) - greatest);
  return greatest + std::log(sum);
}

void require_finite(std::span<const double> values, const char* what) {
  if (std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) return;
  throw Error(std::string(what) + " is not a number", "label",
              "the model's weights or its precision are at fault");
}

// Places of the `most` greatest values, greatest first, of equals the first.
std::vector<std::size_t> greatest(std::span<const double> values, std::size_t most) {
  std::vector<std::size_t> places(values.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  std::stable_sort(places.begin(), places.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  if (places.size() > most) places.resize(most);
  return places;
}

std::vector<double> to_doubles(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kDouble).contiguous();
  const auto* data = values.const_data_ptr<double>();
  return {data, data + values.numel()};
}

}  // namespace

std::vector<double> label_probabilities(std::span<const double> contrast,
                                        std::span<const std::size_t> matched,
                                        std::span<const double> matching) {
  TORCH_CHECK(matched.size() == matching.size(), "one matching for each matched text");
  require_finite(contrast, "the contrast of a text");
  require_finite(matching, "the matching of a text");
  const auto joint = [&](std::size_t i) { return contrast[matched[i]] + matching[i]; };
  const double all = log_sum(contrast.size(), [&](std::size_t i) { return contrast[i]; });
  // What contrast gives the matched ones together, less what they sum to with matching.
  const double scale =
      log_sum(matched.size(), [&](std::size_t i) { return contrast[matched[i]]; }) - all -
      log_sum(matched.size(), joint);
  std::vector<double> probabilities;
  for (const double value : contrast) probabilities.push_back(std::exp(value - all));
  for (std::size_t i = 0; i < matched.size(); ++i) {
    probabilities[matched[i]] = std::exp(joint(i) + scale);
  }
  return probabilities;
}

LabelList::LabelList(const RetrievalModel& model, std::vector<std::string> names,
                     LabelOptions options)
    : model_(model), names_(std::move(names)), options_(std::move(options)) {
  TORCH_CHECK(!options_.templates.empty() && options_.rerank >= 0, "label options");
  for (const std::string& pattern : options_.templates) {
    if (pattern.find("{}") != std::string::npos) continue;
    throw Error(fmt::format("expected {{}} for the name, got '{}'", printable(pattern)),
                "template");
  }
  const at::InferenceMode inference;
  std::vector<at::Tensor> sums;
  for (std::size_t begin = 0; begin < names_.size(); begin += kLabelTextsAtOnce) {
    if (interrupted()) throw Interrupted{};
    const auto some =
        std::span(names_).subspan(begin, std::min(kLabelTextsAtOnce, names_.size() - begin));
    at::Tensor sum;
    for (const std::string& pattern : options_.templates) {
      std::vector<std::string> texts;
      for (const std::string& name : some)
        texts.push_back(fill_prompt(pattern, Prompt::plain(name)).text());
      const at::Tensor vectors = vectors_of(texts);
      sum = sum.defined() ? sum + vectors : vectors;
    }
    sums.push_back(torch::nn::functional::normalize(sum));
  }
  if (!sums.empty()) vectors_ = at::cat(sums);
}

at::Tensor LabelList::vectors_of(std::span<const std::string> texts) const {
  return model_.embed_texts(model_.tokenize(texts));
}

// The probability that the picture matches each text.
std::vector<double> LabelList::match(const ImageKeysValues& picture,
                                     std::span<const std::string> texts) const {
  std::vector<double> probabilities;
  for (std::size_t begin = 0; begin < texts.size(); begin += kLabelTextsAtOnce) {
    const auto some = texts.subspan(begin, std::min(kLabelTextsAtOnce, texts.size() - begin));
    Pairs pairs{std::vector<std::int64_t>(some.size(), 0), std::vector<std::int64_t>(some.size())};
    std::iota(pairs.texts.begin(), pairs.texts.end(), 0);
    const at::Tensor logits = model_.match(picture, model_.tokenize(some), pairs);
    const auto matched = to_doubles(at::softmax(logits.to(at::kDouble), 1).select(1, 1));
    probabilities.insert(probabilities.end(), matched.begin(), matched.end());
  }
  return probabilities;
}

// The probability of a match for the texts at `places`; for a name it is the mean over its
// templates.
std::vector<double> LabelList::match_places(const ImageKeysValues& picture,
                                            std::span<const std::size_t> places,
                                            std::span<const std::string> more) const {
  std::vector<std::string> texts;
  std::vector<std::size_t> ends;  // of each place's texts
  for (const std::size_t place : places) {
    if (place >= names_.size()) {
      texts.push_back(more[place - names_.size()]);
    } else {
      for (const std::string& pattern : options_.templates) {
        texts.push_back(fill_prompt(pattern, Prompt::plain(names_[place])).text());
      }
    }
    ends.push_back(texts.size());
  }
  const std::vector<double> fits = match(picture, texts);
  std::vector<double> means;
  auto begin = fits.begin();
  for (const std::size_t end : ends) {
    const auto stop = fits.begin() + static_cast<std::ptrdiff_t>(end);
    means.push_back(std::accumulate(begin, stop, 0.0) / static_cast<double>(stop - begin));
    begin = stop;
  }
  return means;
}

std::vector<Label> LabelList::rank(const ImageKeysValues& picture,
                                   std::span<const std::string> more) const {
  std::vector<at::Tensor> vectors;
  if (vectors_.defined()) vectors.push_back(vectors_);
  if (!more.empty()) vectors.push_back(vectors_of(more));
  TORCH_CHECK(!vectors.empty(), "texts to rank");
  const at::Tensor cosines = best_cosine(model_.embed_images(picture), at::cat(vectors))[0];
  const std::vector<double> itc = to_doubles(cosines);
  std::vector<double> contrast, matching;  // in nats
  for (const double cosine : itc) contrast.push_back(cosine / model_.temperature());
  const auto matched = greatest(contrast, static_cast<std::size_t>(options_.rerank));
  const std::vector<double> itm = match_places(picture, matched, more);
  for (const double fit : itm) {
    // A probability that is no longer a number above 0 must not be minus infinity.
    matching.push_back(options_.matching_weight *
                       std::log(std::max(fit, std::numeric_limits<double>::min())));
  }
  const auto probabilities = label_probabilities(contrast, matched, matching);
  std::vector<Label> labels;
  for (std::size_t i = 0; i < itc.size(); ++i) {
    labels.push_back({i, probabilities[i], itc[i], std::nullopt});
  }
  for (std::size_t i = 0; i < matched.size(); ++i) labels[matched[i]].itm = itm[i];
  std::stable_sort(labels.begin(), labels.end(),
                   [](const Label& a, const Label& b) { return a.probability > b.probability; });
  return labels;
}

}  // namespace blip2
