#include "blip2/training/plan_step.h"

#include <algorithm>
#include <array>

#include "blip2/qformer/plan.h"
#include "blip2/training/alternation.h"
#include "blip2/training/plan_language.h"
#include "blip2/training/plan_passes.h"
#include "blip2/training/stage1_weights.h"
#include "blip2/training/task.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using Lengths = std::vector<Int>;

constexpr Int kVocabularyRows = 1024;  // of the Q-Former's logits, held at once

std::vector<PassRow> picture_rows(Int count) {
  std::vector<PassRow> rows(static_cast<std::size_t>(count));
  for (Int i = 0; i < count; ++i) rows[static_cast<std::size_t>(i)].image = i;
  return rows;
}

// Each picture with its own text.
void add_pairs(std::vector<PassRow>& rows, Int count, PassRow::Text wanted) {
  for (Int i = 0; i < count; ++i) rows.push_back({.image = i, .text = i, .wanted_text = wanted});
}

class Step {
 public:
  Step(const StepModel& model, const StepTexts& texts)
      : c_(model.config),
        recipe_(model.recipe),
        encoder_(model.encoder),
        word_targets_(static_cast<double>(model.word_targets)),
        processes_(model.processes),
        texts_(texts),
        type_(static_cast<double>(c10::elementSize(compute_type(model.recipe)))),
        passes_(model.config, model.encoder.positions, type_) {}

  StepCost run() {
    see_pictures();
    if (recipe_.stage == 1) {
      represent();
    } else {
      speak();
    }
    cost_.qformer = passes_.flops;
    cost_.qformer_bytes = passes_.bytes;
    cost_.loss_bytes += passes_.tables * kF32Bytes * vocabulary() * d_;
    cost_.qformer_tokens += total_of(texts_.qformer);
    return cost_;
  }

 private:
  double vocabulary() const { return static_cast<double>(c_.qformer.vocab_size); }
  double samples() const { return static_cast<double>(texts_.samples); }

  // Features, and each cross-attention layer's keys and values: once a step. Of a frozen encoder
  // nothing but the matrices needs a gradient.
  void see_pictures() {
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
    if (trains) train_encoder(rows);
  }

  // What run_blocks keeps of `rows` positions: in f32 both norms' inputs, in compute type their
  // results, queries, keys, values, what was seen, and both sides of the activation (of quick_gelu
  // its gate too). In bf16 each of the products that read the first norm's result has its own, and
  // all have their matrices.
  void train_encoder(double rows) {
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

  void represent() {
    const ObjectivesRecipe& o = recipe_.objectives;
    const auto [itc, itm, itg, mlm, mrm] = stage1_weights(o, texts_.step);
    if (itc > 0 || itm > 0 || itg > 0) apart(itc > 0, itm > 0, itg > 0);
    if (itm > 0 || itg > 0) joint(itm > 0, itg > 0);
    if (mlm > 0) {
      together(PassRow::Text::all);
      name_words(total_of(texts_.qformer) * o.mlm_share);
    }
    if (mrm > 0) together(PassRow::Text::none);
    if (o.words > 0) {
      project();
      point_at_words();
    }
  }

  // Queries alone and text alone.
  void apart(bool itc, bool itm, bool itg) {
    auto rows = picture_rows(texts_.samples);
    const bool contrast = itc || itm;
    if (contrast) {
      for (Int i = 0; i < texts_.samples; ++i) {
        rows.push_back({.text = i, .wanted_text = PassRow::Text::first});
      }
    }
    passes_.run(rows, contrast ? texts_.qformer : Lengths{}, itc || itg);
    if (!contrast) return;
    compare(samples(), static_cast<double>(processes_), itc);
  }

  // Queries and texts of `pairs` on each of some processes.
  void compare(double pairs, double processes, bool trains) {
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

  // Matching's three pairs a sample and generation, in one pass.
  void joint(bool itm, bool itg) {
    std::vector<PassRow> rows;
    Lengths texts;
    if (itm) {
      match(rows, texts);
      cost_.heads += product_flops(3 * samples(), d_, 2);
    }
    double generated = 0;
    for (Int i = 0; itg && i < texts_.samples; ++i) {
      const Int length = texts_.qformer[static_cast<std::size_t>(i)] - 1;
      if (length < 1) continue;
      rows.push_back({.text = std::ssize(texts),
                      .prefix = i,
                      .causal = true,
                      .wanted_text = PassRow::Text::all});
      texts.push_back(length);
      generated += static_cast<double>(length);
    }
    passes_.run(rows, texts, true);
    if (itg) name_words(generated);
  }

  // Each picture with its text, with one that it is the negative of, and with its own negative: by
  // chance, texts of any process, all of which are there behind the own ones.
  void match(std::vector<PassRow>& rows, Lengths& texts) const {
    const Int count = texts_.samples, foreign = count * (processes_ - 1) / processes_;
    add_pairs(rows, count, PassRow::Text::none);
    for (Int i = 0; i < count; ++i) {
      rows.push_back({.image = (i + 1) % count, .text = i < foreign ? count + i : i});
    }
    for (Int i = 0; i < count; ++i) {
      rows.push_back({.image = i, .text = i < foreign ? count + i : (i + 1) % count});
    }
    for (Int i = 0; i < processes_; ++i) {
      texts.insert(texts.end(), texts_.qformer.begin(), texts_.qformer.end());
    }
  }

  // Each picture with its own text.
  void together(PassRow::Text wanted) {
    std::vector<PassRow> rows;
    add_pairs(rows, texts_.samples, wanted);
    passes_.run(rows, texts_.qformer, true);
  }

  // The head over the vocabulary; its gradients are made with the loss.
  void name_words(double targets) {
    cost_.heads += product_flops(targets, d_, d_);
    cost_.heads += product_flops(targets, d_, vocabulary(), true, recipe_.train_word_embeddings);
    const double rows = std::min(targets, static_cast<double>(kVocabularyRows));
    cost_.loss_bytes += rows * vocabulary() * type_ + targets * d_ * (3 * type_ + 2 * kF32Bytes);
    if (!recipe_.train_word_embeddings) return;
    cost_.loss_bytes += vocabulary() * d_ * (kF32Bytes + (type_ == kF32Bytes ? 0 : type_));
  }

  void project() {
    const double rows = samples() * static_cast<double>(c_.num_query_tokens);
    const auto width = static_cast<double>(language_width(*c_.language));
    cost_.projection += product_flops(rows, d_, width);
    cost_.loss_bytes += kF32Bytes * rows * (2 * width + d_);
  }

  void point_at_words() {
    const double rows = samples() * static_cast<double>(c_.num_query_tokens);
    const auto width = static_cast<double>(language_width(*c_.language));
    cost_.words += product_flops(rows, width, word_targets_, true, false);
    cost_.loss_bytes += kF32Bytes * (2 * rows * width + 3 * rows * word_targets_);
  }

  // The soft prompts, and what the language model makes of them.
  void speak() {
    if (recipe_.prompt.to_qformer) {
      together(PassRow::Text::none);
    } else {
      passes_.run(picture_rows(texts_.samples), {}, true);
    }
    project();
    const ObjectivesRecipe& o = recipe_.objectives;
    const auto [lm, prefix_lm, cmlm] =
        step_weights(std::array{o.lm, o.prefix_lm, o.cmlm}, o.alternate, texts_.step);
    double working = 0;
    if (lm > 0 && texts_.step >= o.lm_from) say(spoken_texts(), working);
    if (prefix_lm > 0) say(split_texts(), working);
    if (cmlm > 0) say(spoken_texts(), working);
    cost_.language_bytes += working;
    if (o.words > 0) point_at_words();
    if (o.contrast > 0) contrast();
  }

  // Contrast beside the language model: the captions' pictures and texts, taken to be as long for
  // the Q-Former's tokenizer as for the language model's.
  void contrast() {
    std::vector<PassRow> rows;
    Lengths texts;
    for (Int i = 0; i < texts_.samples; ++i) {
      if (texts_.whole[static_cast<std::size_t>(i)]) continue;
      rows.push_back({.image = i});
      texts.push_back(texts_.targets[static_cast<std::size_t>(i)] + 1);
    }
    const Int captions = std::ssize(rows);
    for (Int i = 0; i < captions; ++i) {
      rows.push_back({.text = i, .wanted_text = PassRow::Text::first});
    }
    passes_.run(rows, texts, true);
    compare(static_cast<double>(captions), 1, true);
  }

  void say(const SpokenTexts& texts, double& working) {
    const LanguageCost cost = language_cost(*c_.language, texts, type_);
    cost_.language += cost.flops;
    cost_.language_tokens += cost.tokens;
    cost_.language_bytes += cost.lent + cost.kept;
    cost_.lent_bytes += cost.lent;
    working = std::max(working, cost.working);
  }

  SpokenTexts spoken_texts() const {
    SpokenTexts texts{texts_.prompts, texts_.targets};
    for (Int& length : texts.prompts) length += c_.num_query_tokens;
    return texts;
  }

  // Prefix language modelling moves any number of a caption's tokens but the last and the end
  // token: here the mean.
  SpokenTexts split_texts() const {
    SpokenTexts texts = spoken_texts();
    for (std::size_t i = 0; i < texts.prompts.size(); ++i) {
      if (texts_.whole[i]) continue;
      const Int moved = std::max<Int>(texts.targets[i] - 2, 0) / 2;
      texts.prompts[i] += moved;
      texts.targets[i] -= moved;
    }
    return texts;
  }

  const Blip2Config& c_;
  const Recipe& recipe_;
  const EncoderSize encoder_;
  double word_targets_;
  Int processes_;
  const StepTexts& texts_;
  const double type_, d_ = static_cast<double>(c_.qformer.hidden_size);
  PlannedPasses passes_;
  StepCost cost_;
};

}  // namespace

StepTexts StepTexts::part(std::int64_t first, std::int64_t count) const {
  const auto slice = [&](const auto& all) {
    using List = std::decay_t<decltype(all)>;
    return all.empty() ? List{} : List(all.begin() + first, all.begin() + first + count);
  };
  return {step, count, slice(qformer), slice(prompts), slice(targets), slice(whole)};
}

Flops StepCost::flops() const {
  Flops all;
  for (const Flops& part : {image_keys, qformer, heads, projection, language, words, encoder}) {
    all += part;
  }
  return all;
}

StepCost step_cost(const StepModel& model, const StepTexts& texts) {
  return Step(model, texts).run();
}

}  // namespace blip2
