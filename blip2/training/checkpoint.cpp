#include "blip2/training/checkpoint_internal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <system_error>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/hash.h"
#include "blip2/base/log.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "step_", kUnfinished[] = ".unfinished_";
constexpr const char* kTensorFiles[] = {"weights.safetensors", "optimizer.safetensors"};

std::string checksum(const fs::path& path) {
  return hash_text(hash_bytes(MappedFile::open(path)->bytes()));
}

// The checksum of the state without its own checksum.
std::string state_checksum(nlohmann::json state) {
  state["checksums"].erase("state.json");
  const std::string text = state.dump();
  return hash_text(hash_bytes(std::as_bytes(std::span(text))));
}

void expect_checksum(const nlohmann::json& state, const fs::path& path, const std::string& got) {
  const auto expected = state["checksums"].value(path.filename().string(), std::string());
  if (got == expected) return;
  throw Error(fmt::format("expected checksum {}, got {}", expected, got), path.string(),
              "the checkpoint is damaged");
}

void write_tensors(const fs::path& path, const std::vector<NamedTensor>& tensors) {
  std::vector<at::Tensor> keep;
  std::vector<TensorView> views;
  for (const auto& [name, value] : tensors) {
    keep.push_back(value.detach().contiguous());
    views.push_back(view_of(name, keep.back()));
  }
  write_safetensors(path, views);
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

std::optional<std::int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* first = name.data() + sizeof(kPrefix) - 1;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(first, name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return step;
}

// Steps of the checkpoints under `folder`, newest first.
std::vector<std::int64_t> list_steps(const fs::path& folder) {
  std::vector<std::int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (const auto step = step_of(entry.path())) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  return fmt::format("{}{:08}", kPrefix, step);
}

Checkpoint save_checkpoint(const fs::path& folder, std::int64_t step,
                           const std::vector<NamedTensor>& weights,
                           const std::vector<NamedTensor>& optimizer, nlohmann::json state) {
  const fs::path unfinished = folder / (kUnfinished + checkpoint_name(step));
  const fs::path finished = folder / checkpoint_name(step);
  std::error_code error;
  fs::remove_all(unfinished, error);
  fs::create_directories(unfinished, error);
  if (error) throw Error("cannot create folder: " + error.message(), unfinished.string());
  write_tensors(unfinished / kTensorFiles[0], weights);
  write_tensors(unfinished / kTensorFiles[1], optimizer);
  state["step"] = step;
  for (const char* name : kTensorFiles) state["checksums"][name] = checksum(unfinished / name);
  state["checksums"]["state.json"] = state_checksum(state);
  write_file(unfinished / "state.json", state.dump(1));
  sync_folder(unfinished);
  fs::remove_all(finished, error);
  fs::rename(unfinished, finished, error);
  if (error) throw Error("cannot rename: " + error.message(), unfinished.string());
  sync_folder(folder);
  return {finished, step, std::move(state)};
}

Checkpoint read_checkpoint(const fs::path& folder) {
  const fs::path state_file = folder / "state.json";
  Checkpoint checkpoint{folder, 0, read_json(state_file)};
  const auto& state = checkpoint.state;
  const bool complete = state.is_object() && state.contains("step") &&
                        state["step"].is_number_integer() && state.contains("checksums") &&
                        state["checksums"].is_object();
  if (!complete) throw Error("expected the keys step and checksums", state_file.string());
  checkpoint.step = state["step"].get<std::int64_t>();
  expect_checksum(state, state_file, state_checksum(state));
  for (const char* name : kTensorFiles) {
    expect_checksum(state, folder / name, checksum(folder / name));
  }
  return checkpoint;
}

std::optional<Checkpoint> newest_checkpoint(const fs::path& folder) {
  for (std::int64_t step : list_steps(folder)) {
    try {
      return read_checkpoint(folder / checkpoint_name(step));
    } catch (const Error& error) {
      log_warning("{}; trying the checkpoint before it", error.what());
    }
  }
  return std::nullopt;
}

void prune_checkpoints(const fs::path& folder, std::int64_t keep,
                       std::optional<std::int64_t> best_step) {
  std::error_code error;
  const auto steps = list_steps(folder);
  for (std::size_t i = static_cast<std::size_t>(keep); i < steps.size(); ++i) {
    if (steps[i] != best_step) fs::remove_all(folder / checkpoint_name(steps[i]), error);
  }
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with(kUnfinished))
      fs::remove_all(entry.path(), error);
  }
}

}  // namespace blip2
