#include "blip2/tasks/caption_reads.h"

#include <numeric>
#include <string>
#include <utility>

#include "blip2/base/random.h"
#include "blip2/model/prompts.h"
#include "blip2/tasks/stage2_objectives.h"

namespace blip2 {
namespace {

// Streams of the seed: which words a way of masking hides, and which way a step takes.
enum : std::uint64_t { kHiddenWords = 41, kWay };

constexpr std::string_view kContinues = "##";  // WordPiece's mark of a piece within a word

std::vector<std::int32_t> ids_of(const TextRows& texts, std::int64_t begin, std::int64_t count) {
  const auto* ids = texts.ids.const_data_ptr<std::int64_t>() + begin;
  return {ids, ids + count};
}

}  // namespace

CaptionReads::CaptionReads(LanguageReading reading, const Tokenizer& qformer,
                           const Stage1Setting& setting, std::uint64_t seed)
    : reading_(std::move(reading)), qformer_(qformer), setting_(setting), seed_(seed) {
  const auto start = text_start(reading_.config, reading_.tokenizer);
  start_.assign(start.begin(), start.end());
  if (setting_.recipe.mlm > 0) hidden_token_ = answer_mask(reading_.tokenizer);
}

TokenIds CaptionReads::tokens_of(std::span<const std::int32_t> ids,
                                 const std::vector<bool>& hidden) const {
  TokenIds tokens = start_;
  std::vector<std::int32_t> run;  // of visible pieces
  bool first = true;
  const auto add_run = [&] {
    std::string words = qformer_.decode(run);
    run.clear();
    if (words.empty()) return;
    if (words.starts_with(kContinues)) {
      words.erase(0, kContinues.size());
    } else if (!first) {
      words.insert(0, " ");
    }
    const auto more = reading_.tokenizer.encode(words, false, kWholeText);
    tokens.insert(tokens.end(), more.begin(), more.end());
    first = false;
  };
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!hidden[i]) {
      run.push_back(ids[i]);
      continue;
    }
    add_run();
    tokens.push_back(hidden_token_);
    first = false;
  }
  add_run();
  return read_alone(reading_.config, std::move(tokens));
}

std::uint64_t CaptionReads::mask_seed(std::int64_t caption, std::int64_t way) const {
  return derive_seed(seed_, kHiddenWords, way, caption);
}

std::vector<TokenIds> CaptionReads::masked_tokens(const TextRows& texts,
                                                  std::span<const std::uint64_t> seeds) const {
  const MaskedText masked = mask_text(texts, setting_.masking(), seeds);
  std::vector<bool> chosen(static_cast<std::size_t>(texts.ids.numel()));
  const auto* places = masked.places.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < masked.places.numel(); ++i) {
    chosen[static_cast<std::size_t>(places[i])] = true;
  }
  std::vector<TokenIds> tokens;
  std::int64_t begin = 0;
  for (const std::int64_t length : texts.lengths) {
    const auto hidden = chosen.begin() + begin;
    tokens.push_back(tokens_of(ids_of(texts, begin, length), {hidden, hidden + length}));
    begin += length;
  }
  return tokens;
}

std::vector<TokenIds> CaptionReads::plain_tokens(const TextRows& texts) const {
  std::vector<TokenIds> tokens;
  std::int64_t begin = 0;
  for (const std::int64_t length : texts.lengths) {
    const std::vector<bool> nothing(static_cast<std::size_t>(length));
    tokens.push_back(tokens_of(ids_of(texts, begin, length), nothing));
    begin += length;
  }
  return tokens;
}

void CaptionReads::prepare(const CaptionData& captions, std::int64_t ways) {
  const TextRows texts = ragged_text(captions.texts());
  std::vector<TokenIds> all;
  const auto add = [&](std::vector<TokenIds> some) {
    all.insert(all.end(), std::make_move_iterator(some.begin()),
               std::make_move_iterator(some.end()));
  };
  if (setting_.recipe.mrm > 0) add(plain_tokens(texts));
  for (std::int64_t way = 0; setting_.recipe.mlm > 0 && way < ways; ++way) {
    std::vector<std::uint64_t> seeds;
    for (std::int64_t i = 0; i < texts.texts(); ++i) seeds.push_back(mask_seed(i, way));
    add(masked_tokens(texts, seeds));
  }
  reading_.states->prepare(all);
}

std::optional<Stage1Language> CaptionReads::batch(const CaptionBatch& captions,
                                                  std::optional<std::int64_t> step,
                                                  std::span<const double> weights) const {
  if (!reads_language(weights)) return std::nullopt;
  Stage1Language language;
  if (reads_language(weights, &Stage1Language::plain)) {
    language.plain = reading_.states->of(plain_tokens(captions.texts));
  }
  if (!reads_language(weights, &Stage1Language::masked)) return language;
  const auto* caption = captions.caption_ids.const_data_ptr<std::int64_t>();
  const auto ways = static_cast<std::uint64_t>(setting_.recipe.mlm_ways);
  for (std::int64_t i = 0; i < captions.texts.texts(); ++i) {
    Random random(derive_seed(seed_, kWay, step.value_or(0), caption[i]));
    const auto way = step ? static_cast<std::int64_t>(random.below(ways)) : 0;
    language.seeds.push_back(mask_seed(caption[i], way));
  }
  language.masked = reading_.states->of(masked_tokens(captions.texts, language.seeds));
  return language;
}

}  // namespace blip2
