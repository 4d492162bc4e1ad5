#include "blip2/tasks/task.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/model/directory.h"

namespace blip2 {
namespace {

constexpr char kWords[] = "qformer.embeddings.word_embeddings.weight";

bool takes_part(const std::string& name, const Recipe& recipe) {
  if (name == kWords && !recipe.train_word_embeddings) return false;
  const bool trains_projection = recipe.stage == 2 || recipe.objectives.words > 0;
  return trains_projection || !name.starts_with("language_projection.");
}

}  // namespace

std::int64_t samples_at_once(const Recipe& recipe, std::int64_t processes) {
  const std::int64_t parts = processes * recipe.accumulate;
  if (recipe.batch_size % parts == 0) return recipe.batch_size / parts;
  throw Error(fmt::format("expected a multiple of {} ({} processes, accumulate {}), got {}", parts,
                          processes, recipe.accumulate, recipe.batch_size),
              recipe.place("batch_size"));
}

std::uint64_t part_seed(std::uint64_t seed, std::uint64_t stream, std::int64_t step,
                        std::int64_t part) {
  return part == 0 ? derive_seed(seed, stream, step) : derive_seed(seed, stream, step, part);
}

void TaskLoss::add(const TaskLoss& other) {
  loss = loss.defined() ? loss + other.loss : other.loss;
  meters.insert(meters.end(), other.meters.begin(), other.meters.end());
}

MeanMeters validation_loss(TrainingTask& task, const Dataset& data, const Recipe& recipe,
                           const Ranks* ranks) {
  const at::NoGradGuard no_grad;
  const std::size_t first = ranks ? static_cast<std::size_t>(ranks->rank()) : 0;
  const std::size_t stride = ranks ? static_cast<std::size_t>(ranks->size()) : 1;
  const auto batches = sequential_batches(data.size(), samples_at_once(recipe, 1));
  MeanMeters mean;
  for (std::size_t i = first; i < batches.size(); i += stride) {
    const TaskLoss loss = task.validate({batches[i], data.gather(batches[i], 0, std::nullopt)});
    mean.add(loss.loss.item<double>(), loss.meters, static_cast<double>(batches[i].size()));
  }
  return mean;
}

std::vector<NamedTensor> trained_tensors(const Bridge& bridge, const Recipe& recipe) {
  std::vector<NamedTensor> trained;
  for (auto& [name, tensor] : bridge_tensors(bridge)) {
    const bool trains = takes_part(name, recipe);
    tensor.requires_grad_(trains);
    if (trains) trained.push_back({name, tensor});
  }
  return trained;
}

}  // namespace blip2
