#include "blip2/capfilt/caption_filter.h"

#include <ATen/Parallel.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <new>
#include <numeric>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/hash.h"
#include "blip2/base/parallel.h"
#include "blip2/base/random.h"
#include "blip2/image/image.h"
#include "blip2/io/tar_place.h"
#include "blip2/nn/batch_invariant.h"
#include "blip2/qformer/stage1_heads.h"

namespace blip2 {
namespace {

constexpr std::size_t kTextsAtOnce = 128;

// A function of the picture's content, so that it is the same wherever the picture lies; below
// 2^53, so that every reader of JSON takes it as it is.
std::uint64_t seed_of(std::uint64_t seed, const std::string& file) {
  return derive_seed(seed, hash_bytes(std::as_bytes(std::span(file)))) >> 11;
}

at::Tensor pixels_of(const std::string& file, const std::string& name, const ImageSide& side) {
  const Preprocessing& p = side.preprocessing();
  const auto bytes = std::as_bytes(std::span(file));
  return to_tensor(preprocess(decode_image(bytes, name, p.sixteen_bit), p));
}

}  // namespace

// The pictures of a batch, with the features of the readable ones.
struct CaptionFilter::EncodedPictures {
  std::vector<FilteredPicture> pictures;
  std::vector<std::size_t> readable;                   // places in `pictures`
  ImageFeatures captioner_features, matcher_features;  // of the readable ones
};

CaptionFilter::CaptionFilter(const CaptionFilterOptions& options)
    : options_(options),
      matcher_(options.matcher, options.precision, options.bridge, options.pictures) {
  if (!options.generate) return;
  captioner_.emplace(options.captioner, options.precision, options.bridge, options.pictures);
  shared_ = same_images(captioner_->images(), matcher_.images());
}

CaptionFilter::EncodedPictures CaptionFilter::read(
    std::span<const CaptionedPicture> pictures) const {
  EncodedPictures encoded;
  encoded.pictures.resize(pictures.size());
  std::vector<at::Tensor> captioner(pictures.size()), matcher(pictures.size());
  parallel_for(pictures.size(), static_cast<std::size_t>(at::get_num_threads()),
               [&](std::size_t i) {
                 FilteredPicture& out = encoded.pictures[i];
                 try {
                   const std::string& name = pictures[i].image;
                   out.file = read_source(name, ImageLimits{}.max_bytes);
                   out.seed = seed_of(options_.generation.seed, out.file);
                   matcher[i] = pixels_of(out.file, name, matcher_.images());
                   if (captioner_ && !shared_)
                     captioner[i] = pixels_of(out.file, name, captioner_->images());
                 } catch (const Error& error) {
                   out = FilteredPicture{};
                   out.fault = error.what();
                 } catch (const std::bad_alloc&) {
                   out = FilteredPicture{};
                   out.fault = Error("there is no memory to decode it", pictures[i].image).what();
                 }
               });
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    if (encoded.pictures[i].fault.empty()) encoded.readable.push_back(i);
  }
  if (encoded.readable.empty()) return encoded;
  const auto encode = [&](const ImageSide& side, const std::vector<at::Tensor>& pixels) {
    std::vector<at::Tensor> rows;
    for (const std::size_t i : encoded.readable) rows.push_back(pixels[i]);
    return side.encode(rows);
  };
  encoded.matcher_features = encode(matcher_.images(), matcher);
  if (captioner_) {
    encoded.captioner_features =
        shared_ ? encoded.matcher_features : encode(captioner_->images(), captioner);
  }
  return encoded;
}

std::vector<std::vector<std::string>> CaptionFilter::write(const ImageFeatures& features,
                                                           std::vector<std::uint64_t> seeds) const {
  GenerationOptions generation = options_.generation;
  generation.prompt_seeds = std::move(seeds);
  const auto pictures = captioner_->project_images(features);
  const Prompt prompt = options_.prompt ? Prompt::plain(*options_.prompt)
                                        : Prompt(captioner_->config().caption_prompt);
  const std::vector<Prompt> prompts(pictures.size(), prompt);
  std::vector<std::vector<std::string>> captions;
  for (auto& texts : captioner_->generate(pictures, prompts, std::move(generation))) {
    auto& written = captions.emplace_back();
    for (GeneratedText& text : texts) written.push_back(std::move(text.text));
  }
  return captions;
}

// The captions' scores for one picture.
void CaptionFilter::score(const ImageFeatures& features,
                          std::vector<RankedCaption>& captions) const {
  const ImageKeysValues image = matcher_.project_images(features);
  const bool contrast = options_.rank != CaptionRank::itm;
  const at::Tensor queries = contrast ? matcher_.embed_images(image) : at::Tensor();
  for (std::size_t begin = 0; begin < captions.size(); begin += kTextsAtOnce) {
    const std::size_t count = std::min(kTextsAtOnce, captions.size() - begin);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < count; ++i) texts.push_back(captions[begin + i].text);
    const TextRows rows = matcher_.tokenize(texts);
    at::Tensor scores = at::zeros({static_cast<std::int64_t>(count)});
    if (contrast) scores += best_cosine(queries, matcher_.embed_texts(rows))[0];
    if (options_.rank != CaptionRank::itc) {
      Pairs pairs{std::vector<std::int64_t>(count, 0), std::vector<std::int64_t>(count)};
      std::iota(pairs.texts.begin(), pairs.texts.end(), 0);
      scores += at::softmax(matcher_.match(image, rows, pairs), 1).select(1, 1);
    }
    for (std::size_t i = 0; i < count; ++i) {
      captions[begin + i].score = scores[static_cast<std::int64_t>(i)].item<double>();
    }
  }
}

std::vector<FilteredPicture> CaptionFilter::filter(
    std::span<const CaptionedPicture> pictures) const {
  EncodedPictures encoded = read(pictures);
  const std::size_t count = encoded.readable.size();
  std::vector<std::vector<std::string>> written(count);
  if (captioner_ && count > 0) {
    std::vector<std::uint64_t> seeds;
    for (const std::size_t i : encoded.readable) seeds.push_back(encoded.pictures[i].seed);
    written = write(encoded.captioner_features, std::move(seeds));
  }
  batch_invariant_for(count, [&](std::size_t i) {
    const std::size_t place = encoded.readable[i];
    FilteredPicture& out = encoded.pictures[place];
    auto captions = distinct_captions(pictures[place].captions, written[i]);
    score(encoded.matcher_features.alone(static_cast<std::int64_t>(i)), captions);
    out.generated = written[i].size();
    out.distinct = captions.size();
    try {
      out.captions = best_captions(std::move(captions), options_.keep, options_.min_score);
    } catch (const Error& error) {
      throw error.within(pictures[place].image);
    }
  });
  return std::move(encoded.pictures);
}

}  // namespace blip2
