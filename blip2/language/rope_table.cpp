#include "blip2/language/rope_table_internal.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace blip2 {
namespace {

using Int = std::int64_t;

// theta^(2 i / numbers)
at::Tensor wavelengths(double theta, Int half) {
  const auto options = at::TensorOptions(at::kFloat);
  const at::Tensor exponents = at::arange(0, 2 * half, 2, options) / static_cast<double>(2 * half);
  return at::pow(theta, exponents);
}

// What a kind of scaling starts from.
struct Unscaled {
  at::Tensor lengths;  // wavelengths / (2 pi), [half] f32
  double theta;
  bool in_long;
};

at::Tensor frequencies_of(const std::monostate& /*none*/, const Unscaled& from) {
  return 1.0 / from.lengths;
}

at::Tensor frequencies_of(const LinearRope& rope, const Unscaled& from) {
  return 1.0 / from.lengths / rope.factor;
}

// Wavelengths beyond original / low_freq_factor are stretched by `factor`, those within
// original / high_freq_factor stay, those between are blended.
at::Tensor frequencies_of(const Llama3Rope& rope, const Unscaled& from) {
  const double original = rope.original_max_position_embeddings;
  const at::Tensor frequencies = 1.0 / from.lengths, waves = 2 * M_PI / frequencies;
  const at::Tensor blend =
      ((original / waves - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor))
          .clamp(0, 1);
  return (1 - blend) * frequencies / rope.factor + blend * frequencies;
}

// Frequencies of more than beta_fast rotations over the original length stay, those of less than
// beta_slow are divided by the factor, those between are blended by their place (arXiv 2309.00071).
at::Tensor frequencies_of(const YarnRope& rope, const Unscaled& from) {
  const Int half = from.lengths.size(0);
  const auto numbers = static_cast<double>(2 * half);
  const auto place = [&](double rotations) {
    return numbers * std::log(rope.original_max_position_embeddings / (rotations * 2 * M_PI)) /
           (2 * std::log(from.theta));
  };
  double low = place(rope.beta_fast), high = place(rope.beta_slow);
  if (rope.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, numbers - 1);
  if (low == high) high += 0.001;
  const at::Tensor stay =
      1 - ((at::arange(half, at::TensorOptions(at::kFloat)) - low) / (high - low)).clamp(0, 1);
  return 1.0 / (rope.factor * from.lengths) * (1 - stay) + 1.0 / from.lengths * stay;
}

at::Tensor factors_of(const LongRope& rope, bool in_long) {
  const std::vector<double>& factors = in_long ? rope.long_factor : rope.short_factor;
  return at::tensor(factors, at::kDouble).to(at::kFloat);
}

at::Tensor frequencies_of(const LongRope& rope, const Unscaled& from) {
  return 1.0 / (factors_of(rope, from.in_long) * from.lengths);
}

// [half] f32
at::Tensor frequencies_of(const Rope& rope, Int half, bool in_long) {
  const Unscaled from{wavelengths(rope.theta, half), rope.theta, in_long};
  return std::visit([&](const auto& scaling) { return frequencies_of(scaling, from); },
                    rope.scaling);
}

double attention_factor(const Rope& rope) {
  if (const auto* yarn = std::get_if<YarnRope>(&rope.scaling)) return yarn->attention_factor;
  const auto* factors = std::get_if<LongRope>(&rope.scaling);
  return factors ? factors->attention_factor : 1.0;
}

}  // namespace

at::Tensor rope_factors(const DecoderConfig& config, bool in_long) {
  const Int half = config.rotated() / 2;
  if (const auto* factors = std::get_if<LongRope>(&config.rope.scaling)) {
    return factors_of(*factors, in_long);
  }
  return 1.0 / wavelengths(config.rope.theta, half) / frequencies_of(config.rope, half, in_long);
}

RopeTable::RopeTable(const DecoderConfig& config) : half_(config.rotated() / 2) {
  layers_.resize(static_cast<std::size_t>(config.num_hidden_layers));
  if (config.learned_positions) return;
  const auto full = add(config.rope), local = config.local_rope ? add(*config.local_rope) : full;
  for (Int l = 0; l < config.num_hidden_layers; ++l) {
    if (!config.rotates(l)) continue;
    layers_[static_cast<std::size_t>(l)] = config.window_of(l) > 0 ? local : full;
  }
}

// The tables of short and of long sequences, which may be the same.
std::array<const RopeTable::Table*, 2> RopeTable::add(const Rope& rope) {
  const auto make = [&](bool in_long) {
    tables_.push_back(std::make_unique<Table>(
        Table{frequencies_of(rope, half_, in_long), attention_factor(rope)}));
    return tables_.back().get();
  };
  const Table* const usual = make(false);
  const auto* factors = std::get_if<LongRope>(&rope.scaling);
  if (!factors || factors->same_for_all()) return {usual, usual};
  longest_short_ = factors->original_max_position_embeddings;
  return {usual, make(true)};
}

void RopeTable::reserve(Int count) {
  if (count <= count_) return;
  count_ = std::max<Int>({count, 2 * count_, 256});
  const auto options = at::TensorOptions(at::kFloat);
  const auto copy = [](const at::Tensor& values) {
    const float* data = values.const_data_ptr<float>();
    return std::vector<float>(data, data + values.numel());
  };
  for (const auto& table : tables_) {
    const at::Tensor angles = at::outer(at::arange(count_, options), table->frequencies);
    table->cos = copy(angles.cos() * table->attention_factor);
    table->sin = copy(angles.sin() * table->attention_factor);
  }
}

}  // namespace blip2
