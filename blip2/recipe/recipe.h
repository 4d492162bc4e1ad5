#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/io/fields.h"
#include "blip2/recipe/objectives_recipe.h"

namespace blip2 {

struct DataRecipe {
  // The number of augmented views of each picture in train source i.
  std::int64_t views_of(std::size_t i) const {
    return source_views.empty() ? views : source_views[i];
  }
  bool augments() const {
    return views > 0 || std::any_of(source_views.begin(), source_views.end(),
                                    [](std::int64_t count) { return count > 0; });
  }

  std::vector<std::string> train, validation;
  std::vector<double> weights;
  std::int64_t views = 0;
  std::vector<std::int64_t> source_views;
  std::int64_t max_text_tokens = 32;
  double bad_share = 0.01;
  std::string cache;
  std::string feature_type = "bf16", features = "cached";

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("train", self.train, "data to train on: files, lists, folders or shards");
    visit("validation", self.validation, "data to validate on; empty: no validation");
    visit("weights", self.weights,
          "share of each train source in a batch; empty: the sources' sizes decide");
    visit("views", self.views,
          "number of augmented views of each picture; 0: only the plain picture");
    visit("source_views", self.source_views,
          "number of augmented views for each train source, in place of views");
    visit("max_text_tokens", self.max_text_tokens, "longest text in tokens; longer texts are cut");
    visit("bad_share", self.bad_share, "largest share of bad records; with more the run stops");
    visit("cache", self.cache, "folder of the feature cache; empty: beside the output folder");
    visit("feature_type", self.feature_type, "number type of cached features: bf16 or f32");
    visit("features", self.features,
          "cached: encode each view once; live: read and encode training pictures at each step");
  }
};

struct AugmentationRecipe {
  double min_scale = 0.5, flip = 0.5;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("min_scale", self.min_scale, "smallest share of a picture's area that a view shows");
    visit("flip", self.flip, "probability that a view is mirrored");
  }
};

struct ImageEncoderRecipe {
  bool train = false, checkpointing = false;
  double layer_decay = 1, drop_path = 0;
  std::int64_t image_size = 0, max_num_patches = 0;

  bool operator==(const ImageEncoderRecipe&) const = default;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("train", self.train, "train the image encoder too (vision transformers)");
    visit("layer_decay", self.layer_decay,
          "ratio of a layer's learning rate to that of the layer above it");
    visit("drop_path", self.drop_path,
          "stochastic depth: share of pictures that skip the last block; it rises linearly from "
          "0 in the first block");
    visit("checkpointing", self.checkpointing,
          "compute each block again in the backward pass, to save memory");
    visit("image_size", self.image_size, "height and width of pictures in pixels; 0: as in init");
    visit("max_num_patches", self.max_num_patches,
          "most patches of a picture, for an encoder of pictures of any aspect; 0: as in init");
  }
};

struct LanguageRecipe {
  std::int64_t lora_rank = 0;
  double lora_alpha = 16, lora_dropout = 0;
  std::vector<std::string> lora_targets;

  bool operator==(const LanguageRecipe&) const = default;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("lora_rank", self.lora_rank,
          "rank of the adapters that stage 2 trains beside the frozen language model (LoRA); 0: "
          "none");
    visit("lora_alpha", self.lora_alpha,
          "what an adapter adds is multiplied by lora_alpha / lora_rank");
    visit("lora_targets", self.lora_targets,
          "the matrices with adapters, by the ends of their names as in PyPI peft, or all-linear; "
          "empty: queries and values of attention");
    visit("lora_dropout", self.lora_dropout, "dropout of what the adapters read");
  }
};

struct OptimizerRecipe {
  double lr = 1e-4, weight_decay = 0.05, beta1 = 0.9, beta2 = 0.98, eps = 1e-8, clip = 1.0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("lr", self.lr, "peak learning rate of AdamW");
    visit("weight_decay", self.weight_decay,
          "weight decay; biases and other 1-D parameters have none");
    visit("beta1", self.beta1, "decay of the first moment");
    visit("beta2", self.beta2, "decay of the second moment");
    visit("eps", self.eps, "added to the root of the second moment");
    visit("clip", self.clip, "largest norm of the gradient; 0: no clipping");
  }
};

struct ScheduleRecipe {
  std::int64_t warmup_steps = 100;
  double min_lr = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("warmup_steps", self.warmup_steps, "steps of linear warm-up before the cosine");
    visit("min_lr", self.min_lr, "learning rate at the last step");
  }
};

struct CheckpointRecipe {
  std::int64_t every = 500, keep = 2;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("every", self.every, "steps between checkpoints; validation runs with each");
    visit("keep", self.keep, "number of newest checkpoints to keep; the best one is kept as well");
  }
};

struct LogRecipe {
  bool tensorboard = false;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("tensorboard", self.tensorboard,
          "write the log's numbers to an event file of TensorBoard too");
  }
};

struct PromptRecipe {
  std::string caption = "a photo of", question = "Question: {} Short answer:";
  bool to_qformer = false, chat = false;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("caption", self.caption, "prompt before a caption (stage 2)");
    visit("question", self.question, "prompt before an answer, {} stands for the question");
    visit("to_qformer", self.to_qformer,
          "whether the Q-Former reads the prompt, as InstructBLIP's");
    visit("chat", self.chat,
          "whether prompts are users' turns of the language model's chat template (stage 2)");
  }
};

// Everything that decides a training run. It is read from TOML and changed by --set key=value;
// docs/recipes.md lists every key. A plain value; several threads may call the functions of this
// header at once.
struct Recipe {
  std::int64_t stage = 1;
  std::string init;
  std::int64_t steps = 1000, batch_size = 48, accumulate = 1, seed = 0, log_every = 10;
  std::string precision = "auto", language_weights = "auto";
  double dropout = 0.1;
  bool train_word_embeddings = true;
  std::vector<std::string> encoder_reads;
  DataRecipe data;
  AugmentationRecipe augmentation;
  ImageEncoderRecipe image_encoder;
  LanguageRecipe language;
  OptimizerRecipe optimizer;
  ScheduleRecipe schedule;
  CheckpointRecipe checkpoint;
  LogRecipe log;
  ObjectivesRecipe objectives;
  PromptRecipe prompt;
  std::string file;  // that the recipe was read from; not a key

  // The place of a key for messages: "my.toml: data.train".
  std::string place(const std::string& key) const { return file.empty() ? key : file + ": " + key; }

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("stage", self.stage,
          "1: represent pictures (ITC, ITM, ITG); 2: prompt the language model");
    visit("init", self.init, "model directory to start from");
    visit("steps", self.steps, "optimiser steps");
    visit("batch_size", self.batch_size, "records in a step, over all processes");
    visit("accumulate", self.accumulate,
          "number of parts in which a batch is computed, one after the other, to save memory");
    visit("seed", self.seed, "seed of order, dropout, negatives and initial weights");
    visit("log_every", self.log_every, "steps between lines of the log");
    visit("precision", self.precision, "bf16, f32, or auto: bf16 if the processor has it");
    visit("language_weights", self.language_weights,
          "the frozen language model's matrices in stage 2: auto (as precision says), int8, or "
          "stored (a GGUF file's blocks as they are)");
    visit("dropout", self.dropout, "dropout of the Q-Former");
    visit("train_word_embeddings", self.train_word_embeddings,
          "train the Q-Former's word embeddings; false: they stay as they are");
    visit("encoder_reads", self.encoder_reads,
          "what cross-attention reads: image, or image and language; empty: as in init");
    visit("data", self.data, "");
    visit("augmentation", self.augmentation, "");
    visit("image_encoder", self.image_encoder, "");
    visit("language", self.language, "");
    visit("optimizer", self.optimizer, "");
    visit("schedule", self.schedule, "");
    visit("checkpoint", self.checkpoint, "");
    visit("log", self.log, "");
    visit("objectives", self.objectives, "");
    visit("prompt", self.prompt, "");
  }
};

// Reads a TOML recipe, applies `settings` ("key=value", dotted keys, values as in TOML or bare
// strings), resolves the file's own relative paths against its folder and those of `settings`
// against the current directory, and validates all numbers. Throws Error naming file and key.
Recipe load_recipe(const std::filesystem::path& path, std::span<const std::string> settings);

// Checks the ranges of all numbers, and keys that depend on each other; Error naming the key.
void validate_recipe(const Recipe& recipe, const std::string& where);

}  // namespace blip2
