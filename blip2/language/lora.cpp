#include "blip2/language/lora.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

constexpr std::string_view kWeightEnd = ".weight";

std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

bool names(const std::string& target, const std::string& module) {
  return target == kAllLinear || module == target || module.ends_with("." + target);
}

// peft's targets for the family, by what the layers have.
std::vector<std::string> usual_targets(const std::vector<LoraModule>& modules) {
  const auto has = [&](const char* end) {
    return std::ranges::any_of(modules, [&](const LoraModule& m) { return names(end, m.name); });
  };
  if (has("c_attn")) return {"c_attn"};
  return has("q_proj") ? std::vector<std::string>{"q_proj", "v_proj"}
                       : std::vector<std::string>{"q", "v"};
}

void refuse_target(const std::string& target, const std::vector<LoraModule>& modules,
                   const std::string& where) {
  std::set<std::string> ends;
  for (const LoraModule& module : modules) ends.insert(last_part(module.name));
  throw Error(fmt::format("'{}' names no matrix of the language model's layers", target), where,
              fmt::format("known are {} and {}", fmt::join(ends, ", "), kAllLinear));
}

}  // namespace

double LoraConfig::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

std::vector<LoraPlace> lora_places(const std::vector<TensorSlot>& slots) {
  std::vector<LoraPlace> places;
  for (const TensorSlot& slot : slots) {
    if (!slot.is_matrix()) continue;
    LoraModule module{slot.name.substr(0, slot.name.size() - kWeightEnd.size()), slot.shape[1],
                      slot.shape[0], slot.change.transposed};
    if (module.transposed) std::swap(module.ins, module.outs);
    const bool goes_on = !places.empty() && places.back().linear == slot.linear;
    const std::int64_t begin = goes_on ? places.back().begin + places.back().module.outs : 0;
    places.push_back({std::move(module), slot.linear, begin});
  }
  return places;
}

std::vector<LoraModule> lora_modules(const LanguageConfig& config) {
  std::vector<LoraModule> modules;
  const auto add = [&](const std::vector<TensorSlot>& slots) {
    for (LoraPlace& place : lora_places(slots)) modules.push_back(std::move(place.module));
  };
  if (const auto* t5 = std::get_if<T5Config>(&config)) {
    T5Weights weights;
    weights.config = *t5;
    add(t5_tensors(weights));
  } else {
    DecoderWeights weights;
    weights.config = std::get<DecoderConfig>(config);
    add(decoder_tensors(weights));
  }
  return modules;
}

std::vector<LoraModule> lora_targets(const LanguageConfig& config,
                                     const std::vector<std::string>& targets,
                                     const std::string& where) {
  const std::vector<LoraModule> modules = lora_modules(config);
  const std::vector<std::string> wanted = targets.empty() ? usual_targets(modules) : targets;
  for (const std::string& target : wanted) {
    const auto fits = [&](const LoraModule& module) { return names(target, module.name); };
    if (std::ranges::none_of(modules, fits)) refuse_target(target, modules, where);
  }
  std::vector<LoraModule> chosen;
  for (const LoraModule& module : modules) {
    const auto fits = [&](const std::string& target) { return names(target, module.name); };
    if (std::ranges::any_of(wanted, fits)) chosen.push_back(module);
  }
  return chosen;
}

LoraAdapters::LoraAdapters(LoraConfig config, const std::vector<LoraModule>& modules, bool trained)
    : config_(std::move(config)), trained_(trained), dropout_(std::make_shared<LowRankDropout>()) {
  dropout_->probability = config_.dropout;
  for (const LoraModule& module : modules) {
    adapters_.push_back({module, without_memory({config_.rank, module.ins}),
                         without_memory({module.outs, config_.rank})});
    for (at::Tensor* tensor : {&adapters_.back().a, &adapters_.back().b}) {
      tensor->set_requires_grad(trained);
    }
  }
}

LoraAdapters::LoraAdapters(const LoraConfig& config, const std::vector<LoraModule>& modules,
                           std::uint64_t seed)
    : LoraAdapters(config, modules, /*trained=*/true) {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < adapters_.size(); ++i) {
    const Adapter& adapter = adapters_[i];
    const double bound = 1 / std::sqrt(static_cast<double>(adapter.module.ins));
    const at::Generator generator = at::detail::createCPUGenerator(derive_seed(seed, i));
    adapter.a.set_data(at::empty(adapter.a.sizes()).uniform_(-bound, bound, generator));
    adapter.b.set_data(at::zeros(adapter.b.sizes()));
  }
}

void LoraAdapters::set_dropout(double probability) {
  config_.dropout = dropout_->probability = probability;
}

std::int64_t LoraAdapters::parameters() const {
  std::int64_t count = 0;
  for (const Adapter& adapter : adapters_) count += adapter.a.numel() + adapter.b.numel();
  return count;
}

std::vector<std::pair<std::string, at::Tensor>> LoraAdapters::tensors() const {
  std::vector<std::pair<std::string, at::Tensor>> list;
  for (const Adapter& adapter : adapters_) {
    list.emplace_back(kPeftPrefix + adapter.module.name + ".lora_A.weight", adapter.a);
    list.emplace_back(kPeftPrefix + adapter.module.name + ".lora_B.weight", adapter.b);
  }
  return list;
}

at::Tensor LoraAdapters::flat() const {
  std::vector<at::Tensor> rows;
  for (const auto& [name, tensor] : tensors()) rows.push_back(tensor.reshape({-1}));
  return at::cat(rows);
}

void LoraAdapters::attach(const std::vector<TensorSlot>& slots) const {
  std::map<std::string, std::int64_t> offsets;  // of each adapter in flat()
  std::int64_t offset = 0;
  for (const Adapter& adapter : adapters_) {
    offsets[adapter.module.name] = offset;
    offset += adapter.a.numel() + adapter.b.numel();
  }
  std::map<Linear*, std::shared_ptr<LowRank>> layers;
  std::size_t found = 0;
  for (const LoraPlace& place : lora_places(slots)) {
    const Adapter* adapter = find(place.module.name);
    if (!adapter) continue;
    auto& layer = layers[place.linear];
    if (!layer) layer = std::make_shared<LowRank>(config_.scale(), dropout_);
    layer->parts.push_back({place.begin, adapter->a, adapter->b, offsets[place.module.name]});
    ++found;
  }
  TORCH_CHECK(found == adapters_.size(), "adapters of another model: ", found, " of ",
              adapters_.size(), " have their matrix");
  for (auto& [linear, layer] : layers) linear->low_rank = std::move(layer);
}

const LoraAdapters::Adapter* LoraAdapters::find(const std::string& name) const {
  const std::string module =
      name.ends_with(kWeightEnd) ? name.substr(0, name.size() - kWeightEnd.size()) : name;
  const auto found =
      std::ranges::find(adapters_, module, [](const Adapter& a) { return a.module.name; });
  return found == adapters_.end() ? nullptr : &*found;
}

at::Tensor LoraAdapters::merged(const std::string& name, const at::Tensor& weight,
                                bool as_multiplied) const {
  const Adapter* adapter = find(name);
  if (!adapter) return weight;
  const torch::NoGradGuard no_grad;
  const at::Tensor change =
      at::mm(adapter->b.to(at::kFloat), adapter->a.to(at::kFloat)).mul_(config_.scale());
  const bool turned = adapter->module.transposed && !as_multiplied;
  return weight.to(at::kFloat) + (turned ? change.t() : change);
}

LoraPass::LoraPass(const LoraAdapters* adapters, std::optional<std::uint64_t> seed) {
  if (!adapters || !adapters->trained()) return;
  dropout_ = adapters->dropout_;
  dropout_->seed = seed;
}

LoraPass::~LoraPass() {
  if (dropout_) dropout_->seed.reset();
}

}  // namespace blip2
