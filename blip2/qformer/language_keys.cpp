#include "blip2/qformer/language_keys.h"

#include <fmt/format.h>

#include <numeric>

#include "blip2/base/error.h"
#include "blip2/nn/padded_rows.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/qformer/pass.h"
#include "blip2/qformer/pass_weights_internal.h"

namespace blip2 {
namespace {

void check_states(const LanguageStates& states, const QFormerConfig& config) {
  const std::int64_t rows =
      std::accumulate(states.lengths.begin(), states.lengths.end(), std::int64_t{0});
  if (!config.reads_language()) {
    throw Error("this Q-Former does not read a language model's states", "Q-Former",
                "qformer_config.encoder_reads names what it reads");
  }
  if (states.rows.dim() == 2 && states.rows.size(0) == rows &&
      states.rows.size(1) == config.language_hidden_size) {
    return;
  }
  throw Error(fmt::format("expected a language model's states [{}, {}], got {}", rows,
                          config.language_hidden_size, shape_text(states.rows.sizes())),
              "Q-Former", "is the language model the one this Q-Former was made for?");
}

// States as rows of `type`, without weights of their norm.
at::Tensor normal_rows(const at::Tensor& states, double eps, at::ScalarType type) {
  const at::Tensor normal = at::layer_norm(states.to(at::kFloat), {states.size(1)}, {}, {}, eps);
  if (type == at::kFloat) return normal.contiguous();
  return padded_empty(normal.size(0), normal.size(1), normal.options().dtype(type)).copy_(normal);
}

}  // namespace

LanguageKeysValues QFormerPass::project_language(const LanguageStates& states,
                                                 const Norm& norm) const {
  check_states(states, config_);
  LanguageKeysValues result{std::vector<at::Tensor>(weights_->layers.size()), states.lengths};
  if (states.rows.size(0) == 0) return result;
  const at::Tensor x = normal_rows(states.rows, norm.eps, options_.type);  // [N, Dl]
  for (std::size_t l = 0; l < weights_->layers.size(); ++l) {
    const auto& cross = weights_->layers[l].cross;
    if (!cross) continue;
    // As project_image folds the norm's weights into the projections.
    const at::Tensor &weight = cross->language, &bias = cross->language_bias;
    result.layers[l] =
        Linear::trained(weight * norm.weight, at::addmv(bias, weight, norm.bias), options_.type)(x);
  }
  return result;
}

}  // namespace blip2
