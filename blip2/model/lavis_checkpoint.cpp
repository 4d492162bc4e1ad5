#include "blip2/model/lavis_checkpoint_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "blip2/base/error.h"
#include "blip2/nn/adopt.h"

namespace blip2 {
namespace {

struct NameRule {
  std::string_view theirs, ours;
};

// Names that start with `theirs`, the longest first.
constexpr NameRule kFronts[] = {
    {"Qformer.bert.embeddings.LayerNorm.", "qformer.layernorm."},
    {"Qformer.bert.embeddings.word_embeddings.", "qformer.embeddings.word_embeddings."},
    {"Qformer.bert.embeddings.position_embeddings.", "qformer.embeddings.position_embeddings."},
    {"Qformer.bert.encoder.layer.", "qformer.encoder.layer."},
    {"Qformer.cls.predictions.transform.", "cls.predictions.transform."},
    {"Qformer.cls.predictions.bias", "cls.predictions.bias"},
    {"query_tokens", "query_tokens"},
    {"ln_vision.", "ln_vision."},
    {"vision_proj.", "vision_projection."},
    {"text_proj.", "text_projection."},
    {"itm_head.", "itm_head."},
    {"temp", "temperature"},
    {"opt_proj.", "language_projection."},
    {"t5_proj.", "language_projection."},
    {"llm_proj.", "language_projection."},
    {"llama_proj.", "language_projection."},
};
constexpr std::string_view kVision = "visual_encoder.";
constexpr std::string_view kLanguages[] = {"opt_model.", "t5_model.", "llm_model.", "llama_model."};
constexpr char kWords[] = "Qformer.bert.embeddings.word_embeddings.weight";
constexpr char kHead[] = "Qformer.cls.predictions.decoder.";
constexpr char kOurWords[] = "qformer.embeddings.word_embeddings.weight";
constexpr std::int64_t kBertHead = 64;

// Where the model's tensors begin: "model." in what LAVIS's runner saves.
std::optional<std::string> prefix_of(const TensorFile& file) {
  for (const char* prefix : {"model.", ""}) {
    const std::string front(prefix);
    if (!file.find(front + "query_tokens")) continue;
    const auto& tensors = file.tensors();
    if (std::any_of(tensors.begin(), tensors.end(), [&](const TensorView& tensor) {
          return tensor.name.starts_with(front + "Qformer.bert.");
        })) {
      return front;
    }
  }
  return std::nullopt;
}

// Sorts the file's tensors into the parts of the model.
class Sorter {
 public:
  Sorter(LavisCheckpoint& out, std::string prefix) : out_(out), prefix_(std::move(prefix)) {}

  void sort() {
    for (const TensorView& view : out_.file->tensors()) {
      if (!view.name.starts_with(prefix_)) continue;
      take(view, view.name.substr(prefix_.size()));
    }
    check_head("weight", kWords);
    check_head("bias", "Qformer.cls.predictions.bias");
    out_.file->refuse(unknown_, "BLIP-2 models of LAVIS");
  }

 private:
  std::string where() const { return out_.file->path().string(); }

  void take(const TensorView& view, const std::string& name) {
    if (is_old_buffer(name) || name.starts_with(kHead)) return;
    if (name.starts_with(kVision)) {
      out_.image_prefix = prefix_ + std::string(kVision);
      return;
    }
    for (const std::string_view language : kLanguages) {
      if (!name.starts_with(language)) continue;
      out_.language_prefix = prefix_ + std::string(language);
      return;
    }
    std::string ours = lavis_bridge_name(name);
    if (ours.empty()) return unknown_.push_back(view.name + ": not a tensor of theirs");
    if (ours == "language_projection.weight") out_.projection = name.substr(0, name.find('.'));
    out_.bridge.emplace_back(std::move(ours), &view);
  }

  // The head's matrix and bias are the word embeddings and predictions.bias once more.
  void check_head(const char* member, const char* same_as) const {
    const TensorView* head = out_.file->find(prefix_ + kHead + member);
    if (!head) return;
    const TensorView* other = out_.file->find(prefix_ + same_as);
    const bool same = other && other->shape == head->shape && other->dtype == head->dtype &&
                      std::memcmp(other->data.data(), head->data.data(), head->data.size()) == 0;
    if (!same) {
      throw Error(fmt::format("{}{} differs from {}", kHead, member, same_as), where(),
                  "LAVIS ties them; this model cannot be represented");
    }
  }

  LavisCheckpoint& out_;
  std::string prefix_;
  std::vector<std::string> unknown_;
};

// Sizes by the shapes of the bridge's tensors.
class Sizes {
 public:
  explicit Sizes(const LavisCheckpoint& checkpoint) : checkpoint_(checkpoint) {}

  const TensorView* find(const std::string& name) const {
    for (const auto& [ours, view] : checkpoint_.bridge) {
      if (ours == name) return view;
    }
    return nullptr;
  }
  std::int64_t size(const std::string& name, std::size_t rank, std::size_t dimension) const {
    const TensorView* view = find(name);
    if (!view) throw Error("has no tensor for " + name, where());
    if (view->shape.size() == rank) return view->shape[dimension];
    throw Error(
        fmt::format("{}: expected {} dimensions, got {}", view->name, rank, describe(*view)),
        where());
  }
  std::string where() const { return checkpoint_.file->path().string(); }

 private:
  const LavisCheckpoint& checkpoint_;
};

std::string layer_name(std::int64_t layer, const char* rest) {
  return fmt::format("qformer.encoder.layer.{}.{}", layer, rest);
}

QFormerConfig qformer_of(const Sizes& sizes) {
  QFormerConfig c;
  c.hidden_size = sizes.size("query_tokens", 3, 2);
  c.num_attention_heads = std::max<std::int64_t>(c.hidden_size / kBertHead, 1);
  c.num_hidden_layers = 0;
  c.cross_attention_frequency = 0;
  while (sizes.find(layer_name(c.num_hidden_layers, "attention.attention.query.weight"))) {
    const bool crosses =
        sizes.find(layer_name(c.num_hidden_layers, "crossattention.attention.key.weight"));
    if (crosses && c.num_hidden_layers > 0 && c.cross_attention_frequency == 0) {
      c.cross_attention_frequency = c.num_hidden_layers;
    }
    ++c.num_hidden_layers;
  }
  if (c.cross_attention_frequency == 0) c.cross_attention_frequency = c.num_hidden_layers;
  c.intermediate_size = sizes.size(layer_name(0, "intermediate_query.dense.weight"), 2, 0);
  c.encoder_hidden_size = sizes.size(layer_name(0, "crossattention.attention.key.weight"), 2, 1);
  c.use_qformer_text_input = sizes.find(kOurWords) != nullptr;
  if (c.use_qformer_text_input) {
    c.vocab_size = sizes.size(kOurWords, 2, 0);
    c.max_position_embeddings = sizes.size("qformer.embeddings.position_embeddings.weight", 2, 0);
  }
  check_qformer_config(c, sizes.where());
  return c;
}

}  // namespace

std::string lavis_bridge_name(std::string_view name) {
  for (const NameRule& rule : kFronts) {
    const bool whole = !rule.theirs.ends_with('.');
    if (whole ? name != rule.theirs : !name.starts_with(rule.theirs)) continue;
    std::string ours = std::string(rule.ours) + std::string(name.substr(rule.theirs.size()));
    constexpr std::string_view kSelf = "attention.self.";  // of attention and crossattention
    const auto self = ours.find(kSelf);
    if (self != std::string::npos) ours.replace(self, kSelf.size(), "attention.attention.");
    return ours;
  }
  return {};
}

bool is_lavis_checkpoint(const TensorFile& file) {
  return prefix_of(file).has_value();
}

LavisCheckpoint read_lavis_checkpoint(std::shared_ptr<const TensorFile> file) {
  const std::string where = file->path().string();
  const auto prefix = prefix_of(*file);
  if (!prefix) {
    throw Error("expected a LAVIS checkpoint: query_tokens and Qformer.bert", where,
                "it may be one of the frozen parts");
  }
  LavisCheckpoint checkpoint;
  checkpoint.file = std::move(file);
  Sorter(checkpoint, *prefix).sort();
  const Sizes sizes(checkpoint);
  checkpoint.qformer = qformer_of(sizes);
  checkpoint.num_query_tokens = sizes.size("query_tokens", 3, 1);
  if (sizes.find("itm_head.weight")) {
    checkpoint.contrast_width = sizes.size("vision_projection.weight", 2, 0);
  }
  if (sizes.find("language_projection.weight")) {
    checkpoint.language_width = sizes.size("language_projection.weight", 2, 0);
  }
  if (checkpoint.contrast_width == 0 && checkpoint.language_width == 0) {
    throw Error(
        "has neither stage 1's heads (itm_head) nor stage 2's projection (opt_proj, "
        "t5_proj, llm_proj)",
        where);
  }
  return checkpoint;
}

}  // namespace blip2
