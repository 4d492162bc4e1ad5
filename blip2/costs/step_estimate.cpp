#include "blip2/costs/step_estimate.h"

#include <algorithm>
#include <utility>

#include "blip2/recipe/compute_type.h"
#include "blip2/recipe/lora_config.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using Lengths = std::vector<Int>;

std::vector<PassRow> picture_rows(Int count) {
  std::vector<PassRow> rows(static_cast<std::size_t>(count));
  for (Int i = 0; i < count; ++i) rows[static_cast<std::size_t>(i)].image = i;
  return rows;
}

// The rows of each picture with its own text.
void add_pairs(std::vector<PassRow>& rows, Int count, PassRow::Text wanted) {
  for (Int i = 0; i < count; ++i) rows.push_back({.image = i, .text = i, .wanted_text = wanted});
}

// The first tokens of texts that are read alone.
void add_first_tokens(std::vector<PassRow>& rows, Int count) {
  for (Int i = 0; i < count; ++i) {
    rows.push_back({.text = i, .wanted_text = PassRow::Text::first});
  }
}

}  // namespace

StepEstimate::StepEstimate(const StepModel& model, const StepTexts& texts)
    : c_(model.config),
      recipe_(model.recipe),
      encoder_(model.encoder),
      word_targets_(static_cast<double>(model.word_targets)),
      processes_(model.processes),
      texts_(texts),
      type_(static_cast<double>(c10::elementSize(compute_type(model.recipe)))),
      d_(static_cast<double>(model.config.qformer.hidden_size)),
      passes_(model.config, model.encoder.positions, type_) {
  add_pictures();
}

StepCost StepEstimate::result() const {
  StepCost cost = cost_;
  cost.qformer = passes_.flops;
  cost.qformer_bytes = passes_.bytes;
  cost.loss_bytes += passes_.tables * kF32Bytes * vocabulary() * d_;
  cost.qformer_tokens += text_tokens();
  cost.language_bytes += language_working_;
  return cost;
}

double StepEstimate::generated_words() const {
  double words = 0;
  for (const Int length : texts_.qformer)
    words += static_cast<double>(std::max<Int>(length - 1, 0));
  return words;
}

// Features, and the keys and values of each cross-attention layer, once a step. With a frozen
// encoder only the matrices need a gradient.
void StepEstimate::add_pictures() {
  const double rows = samples() * static_cast<double>(encoder_.positions);
  const auto width = static_cast<double>(c_.qformer.encoder_hidden_size);
  const bool trains = recipe_.image_encoder.train;
  const double stored = trains || recipe_.data.feature_type == "f32" ? 4 : 2;
  cost_.feature_bytes = rows * width * (stored + type_);
  for (Int layer = 0; layer < c_.qformer.num_hidden_layers; ++layer) {
    if (!c_.qformer.crosses(layer)) continue;
    cost_.image_keys += product_flops(rows, width, 2 * d_, trains, true);
    cost_.feature_bytes += rows * 2 * d_ * type_;
  }
  if (recipe_.data.features == "live") cost_.encoder = {samples() * encoder_.flops, 0};
  if (trains) add_encoder_training(rows);
}

// The activations that run_blocks keeps for `rows` positions: in f32 the inputs of both norms; in
// compute type the norms' results, queries, keys, values, attention's result, and input and result
// of the activation (for quick_gelu its gate too). In bf16 each product that reads the first norm's
// result keeps its own copy, and every product keeps its matrix.
void StepEstimate::add_encoder_training(double rows) {
  const auto& vit = std::get<VitConfig>(c_.vision);
  const bool again = recipe_.image_encoder.checkpointing;
  const auto width = static_cast<double>(vit.hidden_size);
  const double sides = vit.hidden_act == "quick_gelu" ? 3 : 2;
  const double inner = sides * static_cast<double>(vit.feed_forward_width());
  const auto layers = static_cast<double>(vit.layers());
  const bool narrow = type_ != kF32Bytes;
  const double matrices = narrow ? type_ * static_cast<double>(encoder_.parameters) / layers : 0;
  const double block =
      matrices + rows * (2 * kF32Bytes * width + type_ * ((narrow ? 8 : 6) * width + inner));
  cost_.encoder_bytes = again ? rows * kF32Bytes * width * layers + block : layers * block;
  cost_.encoder.backward = cost_.encoder.forward * (again ? 3 : 2);
}

void StepEstimate::add_shared(const SharedPasses& passes) {
  if (passes.contrast || passes.pairs || passes.generation) add_unimodal(passes);
  if (passes.pairs || passes.generation) add_joint(passes);
}

// Queries alone and text alone.
void StepEstimate::add_unimodal(const SharedPasses& passes) {
  auto rows = picture_rows(texts_.samples);
  const bool compares = passes.contrast || passes.pairs;
  if (compares) add_first_tokens(rows, texts_.samples);
  passes_.run(rows, compares ? texts_.qformer : Lengths{}, passes.contrast || passes.generation);
  if (compares) add_comparison(samples(), static_cast<double>(processes_), passes.contrast);
}

// Queries and texts of `pairs` on each of some processes.
void StepEstimate::add_comparison(double pairs, double processes, bool trains) {
  const double queries = static_cast<double>(c_.num_query_tokens) * pairs,
               width = static_cast<double>(c_.image_text_hidden_size);
  const double all_queries = processes * queries, all_texts = processes * pairs;
  Flops heads = product_flops(queries, d_, width);
  heads += product_flops(pairs, d_, width);
  heads += product_flops(all_queries, width, all_texts);
  if (!trains) heads.backward = 0;
  cost_.heads += heads;
  cost_.loss_bytes +=
      kF32Bytes * (2 * queries * width + all_queries * width + 2 * all_queries * all_texts);
}

// Three pairs a sample and generation, in one pass.
void StepEstimate::add_joint(const SharedPasses& passes) {
  std::vector<PassRow> rows;
  Lengths lengths;
  if (passes.pairs) add_matched_rows(rows, lengths);
  for (Int i = 0; passes.generation && i < texts_.samples; ++i) {
    const Int length = texts_.qformer[static_cast<std::size_t>(i)] - 1;
    if (length < 1) continue;
    rows.push_back({.text = std::ssize(lengths),
                    .prefix = i,
                    .causal = true,
                    .wanted_text = PassRow::Text::all});
    lengths.push_back(length);
  }
  passes_.run(rows, lengths, true);
}

// Each picture with its own text, with a text whose negative it is, and with its negative text.
// Negatives may be texts of any process; the texts of other processes stand after this process's.
void StepEstimate::add_matched_rows(std::vector<PassRow>& rows, Lengths& lengths) const {
  const Int count = texts_.samples, foreign = count * (processes_ - 1) / processes_;
  add_pairs(rows, count, PassRow::Text::none);
  for (Int i = 0; i < count; ++i) {
    rows.push_back({.image = (i + 1) % count, .text = i < foreign ? count + i : i});
  }
  for (Int i = 0; i < count; ++i) {
    rows.push_back({.image = i, .text = i < foreign ? count + i : (i + 1) % count});
  }
  for (Int i = 0; i < processes_; ++i) {
    lengths.insert(lengths.end(), texts_.qformer.begin(), texts_.qformer.end());
  }
}

void StepEstimate::add_own_pairs(PassRow::Text wanted) {
  std::vector<PassRow> rows;
  add_pairs(rows, texts_.samples, wanted);
  run_reading(std::move(rows), texts_.qformer);
}

void StepEstimate::add_queries() {
  run_reading(picture_rows(texts_.samples), {});
}

// A pass whose queries read the language model's states too, if the step has some.
void StepEstimate::run_reading(std::vector<PassRow> rows, const Lengths& texts) {
  const bool reads = total_of(texts_.language) > 0;
  for (PassRow& row : rows) row.language = reads ? row.image : -1;
  passes_.run(rows, texts, true, reads ? texts_.language : Lengths{});
  if (reads && recipe_.data.features == "live") {
    cost_.language.forward += reading_flops(*c_.language, texts_.language);
  }
}

void StepEstimate::add_head(double rows, double width) {
  cost_.heads += product_flops(rows, d_, width);
}

void StepEstimate::add_words(double targets) {
  cost_.heads += product_flops(targets, d_, d_);
  cost_.heads += product_flops(targets, d_, vocabulary(), true, recipe_.train_word_embeddings);
  const double rows = std::min(targets, static_cast<double>(kVocabularyRows));
  cost_.loss_bytes += rows * vocabulary() * type_ + targets * d_ * (3 * type_ + 2 * kF32Bytes);
  if (!recipe_.train_word_embeddings) return;
  cost_.loss_bytes += vocabulary() * d_ * (kF32Bytes + (type_ == kF32Bytes ? 0 : type_));
}

void StepEstimate::add_projection() {
  const double rows = samples() * static_cast<double>(c_.num_query_tokens);
  const auto width = static_cast<double>(language_width(*c_.language));
  cost_.projection += product_flops(rows, d_, width);
  cost_.loss_bytes += kF32Bytes * rows * (2 * width + d_);
}

void StepEstimate::add_word_targets() {
  const double rows = samples() * static_cast<double>(c_.num_query_tokens);
  const auto width = static_cast<double>(language_width(*c_.language));
  cost_.words += product_flops(rows, width, word_targets_, true, false);
  cost_.loss_bytes += kF32Bytes * (2 * rows * width + 3 * rows * word_targets_);
}

// The captions' pictures and texts, taken to be as long for the Q-Former's tokenizer as for the
// language model's.
void StepEstimate::add_caption_contrast() {
  std::vector<PassRow> rows;
  Lengths lengths;
  for (Int i = 0; i < texts_.samples; ++i) {
    if (texts_.whole[static_cast<std::size_t>(i)]) continue;
    rows.push_back({.image = i});
    lengths.push_back(texts_.targets[static_cast<std::size_t>(i)] + 1);
  }
  const Int captions = std::ssize(rows);
  add_first_tokens(rows, captions);
  passes_.run(rows, lengths, true);
  add_comparison(static_cast<double>(captions), 1, true);
}

void StepEstimate::add_language(const LanguageTexts& texts) {
  const LanguageCost cost = language_cost(*c_.language, texts, type_, lora_config(recipe_));
  cost_.language += cost.flops;
  cost_.language_tokens += cost.tokens;
  cost_.language_bytes += cost.pooled + cost.kept;
  cost_.pooled_bytes += cost.pooled;
  language_working_ = std::max(language_working_, cost.working);
}

LanguageTexts StepEstimate::language_texts() const {
  LanguageTexts texts{texts_.prompts, texts_.targets};
  for (Int& length : texts.prompts) length += c_.num_query_tokens;
  return texts;
}

}  // namespace blip2
