#include "blip2/training/plan_step.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "blip2/nn/padded_rows.h"
#include "blip2/qformer/plan.h"
#include "blip2/training/alternation.h"
#include "blip2/training/task.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using Lengths = std::vector<Int>;

constexpr double kF32 = 4;
constexpr Int kVocabularyRows = 1024, kLanguageRows = 128;  // logits held at once

double sum(const Lengths& lengths) {
  return static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), Int{0}));
}

// Work of the Q-Former's passes of one step.
class Passes {
 public:
  Passes(const Blip2Config& config, Int positions, double type_bytes)
      : c_(config.qformer),
        queries_(config.num_query_tokens),
        positions_(positions),
        type_(type_bytes) {}

  // One pass over rows of pictures and texts. `trains`: its states are kept for gradients.
  void run(const std::vector<PassRow>& rows, const Lengths& texts, bool trains) {
    const PassPlan plan =
        plan_pass(rows, {.layers = c_.num_hidden_layers,
                         .cross_attention_frequency = c_.cross_attention_frequency,
                         .queries = queries_,
                         .positions = positions_,
                         .text_lengths = texts});
    const Flops before = flops;
    for (Int l = 0; l < c_.num_hidden_layers; ++l) {
      layer(plan.layers[static_cast<std::size_t>(l)], c_.crosses(l), trains);
    }
    if (!trains) {
      flops.backward = before.backward;
      return;
    }
    // Embeddings: their sum, its norm and the gradient's table of words.
    const double read = sum(texts) + static_cast<double>(plan.has_queries ? queries_ : 0);
    bytes += 4 * kF32 * read * d_;
    if (!texts.empty()) tables += 1;
  }

  Flops flops;
  double bytes = 0;   // kept for the backward pass
  double tables = 0;  // gradients of the word embeddings that are made one by one

 private:
  double padded(Int rows) const {
    return static_cast<double>(type_ == kF32 ? rows : padded_rows(rows));
  }

  void layer(const LayerPlan& plan, bool crosses, bool trains) {
    const Int read = plan.after_self.inputs, rows = plan.after_self.outputs();
    multiply(read, d_, 3 * d_);
    attend(plan.self);
    multiply(rows, d_, d_);
    if (trains) {
      keep(padded(read) * 4 * d_);  // what the layer reads, queries, keys and values
      keep_attention(rows);
    }
    if (crosses && plan.query_rows > 0) {
      multiply(plan.self_query_rows, d_, d_);
      attend(plan.cross);
      multiply(plan.query_rows, d_, d_);
      if (trains) {
        keep(padded(plan.self_query_rows) * 2 * d_);
        keep_attention(plan.query_rows);
      }
    }
    feed_forward(plan.query_rows, trains);
    feed_forward(plan.text_rows, trains);
  }

  // The result of attention (twice where it was padded), its product, sums and statistics.
  void keep_attention(Int rows) {
    keep(static_cast<double>(rows) * d_ + (type_ == kF32 ? 1 : 2) * padded(rows) * d_);
    bytes += kF32 * static_cast<double>(rows) * (static_cast<double>(c_.num_attention_heads) + 2);
  }

  void feed_forward(Int rows, bool trains) {
    multiply(rows, d_, f_);
    multiply(rows, f_, d_);
    if (trains) keep(padded(rows) * (2 * d_ + 2 * f_));
  }

  void multiply(Int rows, double ins, double outs) {
    flops += product_flops(static_cast<double>(rows), ins, outs);
  }

  void attend(const std::vector<kernels::Segment>& segments) {
    double scores = 0;
    for (const kernels::Segment& s : segments) {
      scores += static_cast<double>(s.q_count) * static_cast<double>(s.a_count + s.b_count);
    }
    flops += {4 * scores * d_, 8 * scores * d_};
  }

  void keep(double elements) { bytes += type_ * elements; }

  const QFormerConfig& c_;
  Int queries_, positions_;
  double type_;
  const double d_ = static_cast<double>(c_.hidden_size),
               f_ = static_cast<double>(c_.intermediate_size);
};

std::vector<PassRow> picture_rows(Int count) {
  std::vector<PassRow> rows(static_cast<std::size_t>(count));
  for (Int i = 0; i < count; ++i) rows[static_cast<std::size_t>(i)].image = i;
  return rows;
}

// Each picture with the text that stands `shift` places after its own.
void add_pairs(std::vector<PassRow>& rows, Int count, Int shift, PassRow::Text wanted) {
  for (Int i = 0; i < count; ++i) {
    rows.push_back({.image = i, .text = (i + shift) % count, .wanted_text = wanted});
  }
}

class Step {
 public:
  Step(const StepModel& model, const StepTexts& texts)
      : c_(model.config),
        recipe_(model.recipe),
        encoder_(model.encoder),
        word_targets_(static_cast<double>(model.word_targets)),
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
    cost_.loss_bytes += passes_.tables * kF32 * vocabulary() * d_;
    cost_.qformer_tokens += sum(texts_.qformer);
    return cost_;
  }

 private:
  double vocabulary() const { return static_cast<double>(c_.qformer.vocab_size); }
  double samples() const { return static_cast<double>(texts_.samples); }

  // Features, and each cross-attention layer's keys and values: once a step. Of a frozen encoder
  // nothing but the matrices needs a gradient.
  void see_pictures() {
    const double rows = samples() * static_cast<double>(encoder_.positions);
    const double width = static_cast<double>(c_.qformer.encoder_hidden_size);
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
  // its gate too).
  void train_encoder(double rows) {
    const auto& vit = std::get<VitConfig>(c_.vision);
    const bool again = recipe_.image_encoder.checkpointing;
    const auto width = static_cast<double>(vit.hidden_size);
    const double sides = vit.hidden_act == "quick_gelu" ? 3 : 2;
    const double inner = sides * static_cast<double>(vit.feed_forward_width());
    const auto layers = static_cast<double>(vit.layers());
    const double block = rows * (2 * kF32 * width + type_ * (6 * width + inner));
    cost_.encoder_bytes = again ? rows * kF32 * width * layers + block : layers * block;
    cost_.encoder.backward = cost_.encoder.forward * (again ? 3 : 2);
  }

  void represent() {
    const ObjectivesRecipe& o = recipe_.objectives;
    std::array weights{o.itc, o.itm, o.itg, o.mlm, o.mrm};
    if (texts_.step < o.itm_from) weights[1] = 0;
    weights = step_weights(weights, o.alternate, texts_.step);
    const auto [itc, itm, itg, mlm, mrm] = weights;
    if (itc > 0 || itm > 0 || itg > 0) apart(itc > 0, itm > 0, itg > 0);
    if (itm > 0 || itg > 0) joint(itm > 0, itg > 0);
    if (mlm > 0) {
      together(PassRow::Text::all);
      name_words(sum(texts_.qformer) * o.mlm_share);
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
    const double queries = static_cast<double>(c_.num_query_tokens) * samples(),
                 width = static_cast<double>(c_.image_text_hidden_size);
    Flops heads = product_flops(queries, d_, width);
    heads += product_flops(samples(), d_, width);
    heads += product_flops(queries, width, samples());
    if (!itc) heads.backward = 0;
    cost_.heads += heads;
    cost_.loss_bytes += kF32 * (3 * queries * width + 2 * queries * samples());
  }

  // Matching's three pairs a sample and generation, in one pass.
  void joint(bool itm, bool itg) {
    std::vector<PassRow> rows;
    Lengths texts;
    if (itm) {
      for (const Int shift : {0, -1, 1}) {
        add_pairs(rows, texts_.samples, (shift + texts_.samples) % texts_.samples,
                  PassRow::Text::none);
      }
      texts = texts_.qformer;
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

  // Each picture with its own text.
  void together(PassRow::Text wanted) {
    std::vector<PassRow> rows;
    add_pairs(rows, texts_.samples, 0, wanted);
    passes_.run(rows, texts_.qformer, true);
  }

  // The head over the vocabulary; its gradients are made with the loss.
  void name_words(double targets) {
    cost_.heads += product_flops(targets, d_, d_);
    cost_.heads += product_flops(targets, d_, vocabulary(), true, recipe_.train_word_embeddings);
    const double rows = std::min(targets, static_cast<double>(kVocabularyRows));
    cost_.loss_bytes += rows * vocabulary() * type_ + targets * d_ * (3 * type_ + 2 * kF32);
    if (recipe_.train_word_embeddings) cost_.loss_bytes += vocabulary() * d_ * (kF32 + type_);
  }

  void project() {
    const double rows = samples() * static_cast<double>(c_.num_query_tokens);
    const auto width = static_cast<double>(language_width(*c_.language));
    cost_.projection += product_flops(rows, d_, width);
    cost_.loss_bytes += kF32 * rows * (2 * width + d_);
  }

  void point_at_words() {
    const double rows = samples() * static_cast<double>(c_.num_query_tokens);
    const auto width = static_cast<double>(language_width(*c_.language));
    cost_.words += product_flops(rows, width, word_targets_, true, false);
    cost_.loss_bytes += kF32 * (2 * rows * width + 3 * rows * word_targets_);
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
    const auto [lm, cmlm] = step_weights(std::array{o.lm, o.cmlm}, o.alternate, texts_.step);
    if (lm > 0 && texts_.step >= o.lm_from) say();
    if (cmlm > 0) say();
    if (o.words > 0) point_at_words();
  }

  // The last token of a text predicts nothing and is not read.
  void say() {
    const auto& decoder = std::get<DecoderConfig>(*c_.language);
    Lengths lengths;
    for (std::size_t i = 0; i < texts_.prompts.size(); ++i) {
      lengths.push_back(c_.num_query_tokens + texts_.prompts[i] + texts_.targets[i] - 1);
    }
    const double targets = sum(texts_.targets), rows = sum(lengths);
    cost_.language += language_flops(decoder, lengths, targets);
    cost_.language_tokens += rows;
    cost_.language_bytes += stack_bytes(decoder, static_cast<Int>(rows));
    const auto width = static_cast<double>(decoder.hidden_size);
    const double held = std::min(targets, static_cast<double>(kLanguageRows));
    cost_.language_bytes += kF32 * width * (5 * rows + 3 * targets) +
                            held * static_cast<double>(decoder.vocab_size) * type_;
  }

  // DecoderStack's memory, which has an eighth more rows than the batch that it was made for.
  double stack_bytes(const DecoderConfig& c, Int rows) const {
    rows = padded_rows(rows);
    const auto room = static_cast<double>(padded_rows(rows + rows / 8));
    const auto layers = static_cast<double>(c.num_hidden_layers),
               width = static_cast<double>(c.hidden_size), qkv = static_cast<double>(c.qkv_width()),
               up = static_cast<double>(c.up_width()),
               widest = static_cast<double>(std::max(c.hidden_size, c.query_width()));
    const double kept = kF32 * width * (2 * layers + 1) + type_ * layers * (qkv + up);
    const double working =
        type_ * (2 * widest + static_cast<double>(c.intermediate_size) + qkv + up);
    return room * (kept + working);
  }

  const Blip2Config& c_;
  const Recipe& recipe_;
  const EncoderSize encoder_;
  double word_targets_;
  const StepTexts& texts_;
  const double type_, d_ = static_cast<double>(c_.qformer.hidden_size);
  Passes passes_;
  StepCost cost_;
};

}  // namespace

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

double pass_weight_bytes(const QFormerConfig& c, std::int64_t type_bytes) {
  const auto d = static_cast<double>(c.hidden_size), f = static_cast<double>(c.intermediate_size),
             features = static_cast<double>(c.encoder_hidden_size);
  const double copy = type_bytes == 4 ? 0 : static_cast<double>(type_bytes);
  double bytes = 0;
  for (Int layer = 0; layer < c.num_hidden_layers; ++layer) {
    bytes += 3 * d * d * (kF32 + copy) + copy * (d * d + 2 * d * f);
    if (c.use_qformer_text_input) bytes += copy * 2 * d * f;
    if (c.crosses(layer)) bytes += copy * 2 * d * d + 2 * d * features * (2 * kF32 + copy);
  }
  if (c.use_qformer_text_input) bytes += copy * static_cast<double>(c.vocab_size) * d;
  return bytes;
}

}  // namespace blip2
