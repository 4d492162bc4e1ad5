#include "blip2/costs/language_cost.h"

#include <algorithm>
#include <set>
#include <string>
#include <variant>

#include "blip2/language/decoder.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/language/t5_weights.h"
#include "blip2/nn/padded_rows.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using Lengths = std::vector<Int>;

// The number of attention scores of the rows with themselves, or with the last `window` of them.
double own_pairs(const Lengths& rows, Int window) {
  double total = 0;
  for (const Int length : rows) {
    total += static_cast<double>(length * (window > 0 ? std::min(length, window) : length));
  }
  return total;
}

// The number of attention scores between the rows of `a` and the rows of `b`, sequence by sequence.
double pairs(const Lengths& a, const Lengths& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += static_cast<double>(a[i] * b[i]);
  return total;
}

template <typename Tensor>
Int elements(const Tensor& tensor) {
  Int count = 1;
  for (const Int extent : tensor.shape) count *= extent;
  return count;
}

// The operations of a product with a frozen matrix.
Flops frozen_product(double rows, double elements, bool trains = true) {
  return product_flops(rows, elements, 1, trains, /*weight_gradient=*/false);
}

// The cost of an adapter: of a matrix whose products have `rows` rows. Both of its matrices get
// gradients. What it reads is kept, as are its rows of the rank's width.
void add_adapter(LanguageCost& cost, const LoraModule& module, double rows, double type,
                 const LoraConfig& lora) {
  const auto ins = static_cast<double>(module.ins), outs = static_cast<double>(module.outs),
             rank = static_cast<double>(lora.rank);
  cost.flops += product_flops(rows, ins, rank);
  cost.flops += product_flops(rows, rank, outs);
  cost.kept += rows * type * ins;
}

// The parameters, laid together for autograd, and their gradients.
void add_adapters(LanguageCost& cost, const std::vector<LoraModule>& modules, Int rank) {
  for (const LoraModule& module : modules) {
    cost.kept += 2 * kF32Bytes * static_cast<double>(rank * (module.ins + module.outs));
  }
}

class DecoderOnly {
 public:
  explicit DecoderOnly(const DecoderConfig& config) : c_(config) {
    DecoderWeights weights;
    weights.config = config;
    for (const TensorSlot& slot : decoder_tensors(weights)) {
      parameters_ += elements(slot);
      if (slot.is_matrix()) matrices_ += elements(slot);
    }
  }

  Int parameters() const { return parameters_; }

  double weight_bytes(double type) const {
    if (type == kF32Bytes) return type * static_cast<double>(parameters_);
    const double fused = static_cast<double>(c_.num_hidden_layers * c_.hidden_size) *
                         static_cast<double>(c_.qkv_width() + (c_.gated() ? c_.up_width() : 0));
    return type * (static_cast<double>(parameters_) + fused);
  }

  // Elements of the layers' matrices, which may be int8.
  Int matrices() const { return matrices_; }

  double reading(const Lengths& texts) const {
    const double attention = 4 * pairs(texts, texts) * static_cast<double>(c_.query_width()) *
                             static_cast<double>(c_.num_hidden_layers);
    return frozen_product(total_of(texts), static_cast<double>(matrices_)).forward + attention;
  }

  // The last token of a text predicts nothing and is not read.
  LanguageCost cost(const LanguageTexts& texts, double type, const LoraConfig& lora) const {
    Lengths lengths;
    for (std::size_t i = 0; i < texts.prompts.size(); ++i) {
      lengths.push_back(texts.prompts[i] + texts.targets[i] - 1);
    }
    const double rows = total_of(lengths), targets = total_of(texts.targets);
    const auto width = static_cast<double>(c_.hidden_size),
               words = static_cast<double>(c_.vocab_size);
    LanguageCost cost;
    cost.tokens = rows;
    // Behind the last attention only rows that predict something are computed.
    const auto last = static_cast<double>(
        c_.hidden_size * (c_.query_width() + c_.up_width() + c_.intermediate_size));
    cost.flops = frozen_product(rows, static_cast<double>(matrices_) - last);
    cost.flops += frozen_product(targets, last);
    double scores = 0;
    for (Int l = 0; l < c_.num_hidden_layers; ++l) scores += own_pairs(lengths, c_.window_of(l));
    const double attention = 4 * scores * static_cast<double>(c_.query_width());
    cost.flops += {attention, 2 * attention};
    cost.flops += frozen_product(targets, words * width);
    cost.pooled = stack_bytes(static_cast<Int>(rows), type);
    cost.kept = kF32Bytes * width * (5 * rows + 3 * targets);
    cost.working = std::min(targets, static_cast<double>(kLossRows)) * words * type;
    if (lora.rank > 0) add_lora(cost, rows, targets, type, lora);
    return cost;
  }

 private:
  void add_lora(LanguageCost& cost, double rows, double targets, double type,
                const LoraConfig& lora) const {
    const auto modules = lora_targets(c_, lora.targets, "language.lora_targets");
    const std::set<std::string> few = last_modules();
    for (const LoraModule& module : modules) {
      add_adapter(cost, module, few.contains(module.name) ? targets : rows, type, lora);
    }
    add_adapters(cost, modules, lora.rank);
  }

  // The matrices behind the last attention.
  std::set<std::string> last_modules() const {
    DecoderWeights weights;
    weights.config = c_;
    std::set<std::string> names;
    for (const LoraPlace& place : lora_places(decoder_tensors(weights))) {
      const DecoderLayer& last = weights.layers.back();
      if (place.linear == &last.o || place.linear == &last.gate_up || place.linear == &last.down) {
        names.insert(place.module.name);
      }
    }
    return names;
  }

  // DecoderStack's memory, which has an eighth more rows than the batch that it was made for.
  double stack_bytes(Int rows, double type) const {
    rows = padded_rows(rows);
    const auto room = static_cast<double>(padded_rows(rows + rows / 8));
    const auto layers = static_cast<double>(c_.num_hidden_layers),
               width = static_cast<double>(c_.hidden_size),
               qkv = static_cast<double>(c_.qkv_width()), up = static_cast<double>(c_.up_width()),
               widest = static_cast<double>(std::max(c_.hidden_size, c_.query_width()));
    const double plain =  // queries and keys before their norms
        c_.norms_queries() ? static_cast<double>(c_.query_width() + c_.key_width()) : 0;
    const double products = c_.norm_after ? 2 * width : 0;  // before the norms behind
    const double kept =
        kF32Bytes * width * (2 * layers + 1) + type * layers * (qkv + plain + products + up);
    const double working =
        type * (2 * widest + static_cast<double>(c_.intermediate_size) + qkv + up);
    return room * (kept + working);
  }

  const DecoderConfig& c_;
  Int parameters_ = 0, matrices_ = 0;
};

// T5's operations are ATen's, which keep what t5_layers.cpp gives them.
class EncoderDecoder {
 public:
  explicit EncoderDecoder(const T5Config& config) : c_(config) {
    T5Weights weights;
    weights.config = c_;
    for (const TensorSlot& slot : t5_tensors(weights)) {
      parameters_ += elements(slot);
      if (slot.is_matrix()) matrices_ += elements(slot);
    }
  }

  Int parameters() const { return parameters_; }
  Int matrices() const { return matrices_; }

  double weight_bytes(double type) const { return type * static_cast<double>(parameters_); }

  double reading(const Lengths& texts) const {
    LanguageCost cost;
    const double rows = total_of(texts);
    for (Int i = 0; i < c_.num_layers; ++i) {
      attend(cost, {rows, rows, pairs(texts, texts)});
      feed_forward(cost, rows, kF32Bytes);
    }
    return cost.flops.forward;
  }

  // The encoder reads an end token after the prompt, the decoder a start token before the answer.
  LanguageCost cost(const LanguageTexts& texts, double type, const LoraConfig& lora) const {
    Lengths read = texts.prompts;
    for (Int& length : read) ++length;
    const Lengths& said = texts.targets;
    const double n = total_of(read), m = total_of(said), words = static_cast<double>(c_.vocab_size);
    LanguageCost cost;
    cost.tokens = n + m;
    for (Int i = 0; i < c_.num_layers; ++i) {
      attend(cost, {n, n, pairs(read, read)});
      feed_forward(cost, n, type);
    }
    for (Int i = 0; i < c_.num_decoder_layers; ++i) {
      // What the decoder has read has no gradient before it meets the encoder's states.
      const bool trains = i > 0;
      attend(cost, {m, m, pairs(said, said), trains, trains});
      attend(cost, {m, n, pairs(said, read), trains, true});
      feed_forward(cost, m, type);
    }
    cost.flops += frozen_product(m, words * d_);
    // The inputs of both last norms, and the logarithms of the words' probabilities, which while
    // they are computed or differentiated stand beside two more such matrices.
    cost.kept += kF32Bytes * (d_ * (n + m) + m * words);
    cost.working = kF32Bytes * (d_ * n + 2 * m * words);
    if (lora.rank > 0) add_lora(cost, n, m, type, lora);
    return cost;
  }

 private:
  // Attention of `rows` queries to `keys` keys with `scores` scores, and whether queries and keys
  // (with values) have gradients.
  struct Attention {
    double rows, keys, scores;
    bool query_gradients = true, key_gradients = true;
  };

  void attend(LanguageCost& cost, const Attention& a) const {
    cost.flops += frozen_product(a.rows, d_ * inner_, a.query_gradients);    // queries
    cost.flops += frozen_product(a.keys, 2 * d_ * inner_, a.key_gradients);  // keys, values
    cost.flops += frozen_product(a.rows, d_ * inner_,
                                 a.query_gradients || a.key_gradients);  // attention result
    const double product = 2 * a.scores * inner_;
    cost.flops += {2 * product, (a.query_gradients + 3 * a.key_gradients) * product};
    if (a.query_gradients)
      cost.kept += kF32Bytes * (a.rows * (d_ + 1) + a.keys * inner_);  // the norm's, keys
    if (a.key_gradients) {  // queries, values, probabilities
      cost.kept += kF32Bytes * ((a.rows + a.keys) * inner_ + a.scores * heads_);
    }
  }

  // The keys and values of cross-attention have the encoder's rows.
  void add_lora(LanguageCost& cost, double n, double m, double type, const LoraConfig& lora) const {
    const auto modules = lora_targets(c_, lora.targets, "language.lora_targets");
    for (const LoraModule& module : modules) {
      const auto is = [&](const char* end) { return module.name.ends_with(end); };
      const bool encoder =
          module.name.starts_with("encoder.") || is("EncDecAttention.k") || is("EncDecAttention.v");
      add_adapter(cost, module, encoder ? n : m, type, lora);
    }
    add_adapters(cost, modules, lora.rank);
  }

  // In f32 both sides of the gate and what the activation made of it; without a gate its result.
  void feed_forward(LanguageCost& cost, double rows, double type) const {
    cost.flops += frozen_product(rows, (c_.gated_gelu ? 3 : 2) * d_ * f_);
    cost.kept += rows * (kF32Bytes * (d_ + 1) + (c_.gated_gelu ? 3 * kF32Bytes : type) * f_);
  }

  const T5Config& c_;
  Int parameters_ = 0, matrices_ = 0;
  const double d_ = static_cast<double>(c_.d_model), f_ = static_cast<double>(c_.d_ff),
               inner_ = static_cast<double>(c_.inner_width()),
               heads_ = static_cast<double>(c_.num_heads);
};

DecoderOnly part_of(const DecoderConfig& config) {
  return DecoderOnly(config);
}
EncoderDecoder part_of(const T5Config& config) {
  return EncoderDecoder(config);
}

}  // namespace

std::int64_t language_parameters(const LanguageConfig& config) {
  return std::visit([](const auto& c) { return part_of(c).parameters(); }, config);
}

double language_weight_bytes(const LanguageConfig& config, double type_bytes, bool int8) {
  return std::visit(
      [&](const auto& c) {
        const auto part = part_of(c);
        if (!int8) return part.weight_bytes(type_bytes);
        // Embeddings, norms and head stay in the type.
        return static_cast<double>(part.matrices()) +
               type_bytes * static_cast<double>(part.parameters() - part.matrices());
      },
      config);
}

std::int64_t lora_parameters(const LanguageConfig& config, const LoraConfig& lora) {
  if (lora.rank == 0) return 0;
  std::int64_t count = 0;
  for (const LoraModule& module : lora_targets(config, lora.targets, "language.lora_targets")) {
    count += lora.rank * (module.ins + module.outs);
  }
  return count;
}

LanguageCost language_cost(const LanguageConfig& config, const LanguageTexts& texts,
                           double type_bytes, const LoraConfig& lora) {
  return std::visit([&](const auto& c) { return part_of(c).cost(texts, type_bytes, lora); },
                    config);
}

double reading_flops(const LanguageConfig& config, const std::vector<std::int64_t>& lengths) {
  return std::visit([&](const auto& c) { return part_of(c).reading(lengths); }, config);
}

}  // namespace blip2
