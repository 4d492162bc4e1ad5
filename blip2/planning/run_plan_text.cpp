#include <fmt/format.h>

#include <string>
#include <utility>

#include "blip2/planning/run_plan.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

std::string count_text(double count) {
  const std::pair<double, const char*> units[] = {
      {1e15, " P"}, {1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}};
  for (const auto& [size, unit] : units) {
    if (count >= size) return fmt::format("{:.4g}{}", count / size, unit);
  }
  return fmt::format("{:.4g} ", count);
}

std::string bytes_text(double bytes) {
  return count_text(bytes) + "B";
}

}  // namespace

ordered_json plan_json(const RunPlan& plan) {
  ordered_json parts, memory, work, disk;
  std::int64_t trained = 0, frozen = 0;
  for (const auto& part : plan.parts) {
    parts[part.name] = {{"trained", part.trained}, {"frozen", part.frozen}};
    trained += part.trained;
    frozen += part.frozen;
  }
  for (const auto& item : plan.memory) memory[item.name] = static_cast<std::int64_t>(item.bytes);
  for (const auto& item : plan.disk) disk[item.name] = static_cast<std::int64_t>(item.bytes);
  for (const auto& item : plan.work) {
    work[item.name] = {{"forward", item.flops.forward}, {"backward", item.flops.backward}};
  }
  const Flops step = plan.step_flops();
  return {{"parameters", {{"trained", trained}, {"frozen", frozen}, {"parts", parts}}},
          {"memory", {{"peak", static_cast<std::int64_t>(plan.peak_memory())}, {"parts", memory}}},
          {"step",
           {{"samples", plan.samples_per_step},
            {"processes", plan.processes},
            {"samples_at_once", plan.samples_at_once},
            {"qformer_tokens", plan.qformer_tokens_per_step},
            {"language_tokens", plan.language_tokens_per_step},
            {"flops", step.total()},
            {"forward", step.forward},
            {"backward", step.backward},
            {"parts", work}}},
          {"run",
           {{"steps", plan.steps},
            {"samples", plan.samples},
            {"records", plan.records},
            {"pictures", plan.pictures},
            {"epochs", plan.epochs},
            {"qformer_tokens", plan.qformer_tokens_per_step * static_cast<double>(plan.steps)},
            {"language_tokens", plan.language_tokens_per_step * static_cast<double>(plan.steps)},
            {"feature_rows", plan.feature_rows},
            {"feature_flops", plan.feature_flops},
            {"flops", plan.run_flops()}}},
          {"disk", {{"total", static_cast<std::int64_t>(plan.disk_bytes())}, {"parts", disk}}}};
}

std::string plan_text(const RunPlan& plan) {
  std::string text = fmt::format("{:36} {:>12} {:>12}\n", "parameters", "trained", "frozen");
  for (const auto& part : plan.parts) {
    text += fmt::format("  {:34} {:>12} {:>12}\n", part.name,
                        count_text(static_cast<double>(part.trained)),
                        count_text(static_cast<double>(part.frozen)));
  }
  text += fmt::format("{:36} {:>12}\n", "memory at its peak", bytes_text(plan.peak_memory()));
  for (const auto& item : plan.memory) {
    text += fmt::format("  {:34} {:>12}\n", item.name, bytes_text(item.bytes));
  }
  const Flops step = plan.step_flops();
  text += fmt::format("{:36} {:>12} {:>12}\n", "operations of a step", "forward", "backward");
  for (const auto& item : plan.work) {
    text += fmt::format("  {:34} {:>12} {:>12}\n", item.name, count_text(item.flops.forward),
                        count_text(item.flops.backward));
  }
  text += fmt::format("  {:34} {:>12} {:>12}\n", "all", count_text(step.forward),
                      count_text(step.backward));
  text += fmt::format(
      "a step: {} samples, {} at a time in each of {} processes; {:.0f} tokens of the Q-Former, "
      "{:.0f} of the language model\n",
      plan.samples_per_step, plan.samples_at_once, plan.processes, plan.qformer_tokens_per_step,
      plan.language_tokens_per_step);
  text += fmt::format("the run: {} steps, {} samples of {} records, {:.2f} epochs, {}operations\n",
                      plan.steps, plan.samples, plan.records, plan.epochs,
                      count_text(plan.run_flops()));
  text += fmt::format("  of these for {} rows of features, once: {}operations\n", plan.feature_rows,
                      count_text(plan.feature_flops));
  text += fmt::format("{:36} {:>12}\n", "disk", bytes_text(plan.disk_bytes()));
  for (const auto& item : plan.disk) {
    text += fmt::format("  {:34} {:>12}\n", item.name, bytes_text(item.bytes));
  }
  return text;
}

}  // namespace blip2
