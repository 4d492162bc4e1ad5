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

namespace blip2 {

struct DataRecipe {
  // Augmented views of the pictures of train source i.
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
    visit("validation", self.validation, "data to validate on; none: no validation");
    visit("weights", self.weights, "share of each train source in a batch; empty: by its size");
    visit("views", self.views, "augmented views of each picture; 0: the plain picture alone");
    visit("source_views", self.source_views, "views of each train source, where they differ");
    visit("max_text_tokens", self.max_text_tokens, "longest text, in tokens; longer ones are cut");
    visit("bad_share", self.bad_share, "largest share of bad records before the run stops");
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
  std::int64_t image_size = 0;

  bool operator==(const ImageEncoderRecipe&) const = default;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("train", self.train, "train the image encoder too (vision transformers)");
    visit("layer_decay", self.layer_decay,
          "each layer's learning rate over that of the layer above it");
    visit("drop_path", self.drop_path,
          "share of pictures that pass by the last block; rises linearly from 0 in the first");
    visit("checkpointing", self.checkpointing,
          "compute each block again in the backward pass, to save memory");
    visit("image_size", self.image_size, "height and width of pictures in pixels; 0: as in init");
  }
};

struct OptimizerRecipe {
  double lr = 1e-4, weight_decay = 0.05, beta1 = 0.9, beta2 = 0.98, eps = 1e-8, clip = 1.0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("lr", self.lr, "peak learning rate of AdamW");
    visit("weight_decay", self.weight_decay, "decay of weights; biases and 1-D ones have none");
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
    visit("keep", self.keep, "newest checkpoints kept; the best is kept besides");
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

struct ObjectivesRecipe {
  double itc = 1, itm = 1, itg = 1, mlm = 0, mrm = 0;
  double mlm_share = 0.15, mrm_share = 0.15;
  double lm = 1, prefix_lm = 0, cmlm = 0, words = 0, contrast = 0, label_smoothing = 0.1;
  double words_sharpness = 16;
  std::int64_t itm_from = 0, itg_from = 0, lm_from = 0, words_lead = 0;
  std::int64_t itm_every = 1, itg_every = 1;
  bool clamp_temperature = true, alternate = false;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("itc", self.itc, "weight of image-text contrast (stage 1)");
    visit("itm", self.itm, "weight of image-text matching (stage 1)");
    visit("itg", self.itg, "weight of image-grounded text generation (stage 1)");
    visit("mlm", self.mlm, "weight of masked language modelling (stage 1)");
    visit("mrm", self.mrm, "weight of masked region modelling (stage 1)");
    visit("mlm_share", self.mlm_share, "share of a text's tokens that MLM takes away");
    visit("mrm_share", self.mrm_share, "share of a picture's positions that MRM hides");
    visit("itm_from", self.itm_from, "steps without matching at the start (stage 1)");
    visit("itg_from", self.itg_from, "steps without image-grounded texts at the start (stage 1)");
    visit("itm_every", self.itm_every, "n: matching in every n-th step from itm_from on (stage 1)");
    visit("itg_every", self.itg_every,
          "n: image-grounded texts in every n-th step from itg_from on (stage 1)");
    visit("lm", self.lm, "weight of language modelling (stage 2)");
    visit("lm_from", self.lm_from, "steps by words alone at the start (stage 2)");
    visit("prefix_lm", self.prefix_lm,
          "weight of prefix language modelling (stage 2 with an encoder-decoder)");
    visit("cmlm", self.cmlm,
          "weight of conditional masked language modelling (stage 2 with prompt.to_qformer)");
    visit("words", self.words, "weight of the words objective (stage 1 on captions, stage 2)");
    visit("contrast", self.contrast,
          "weight of image-text contrast on the captions of each batch (stage 2)");
    visit("words_sharpness", self.words_sharpness,
          "words: logits are so many times the cosines with the word embeddings");
    visit("words_lead", self.words_lead, "tokens of the prompt that go before the words");
    visit("alternate", self.alternate,
          "one objective a step, the weights being their shares of the steps");
    visit("label_smoothing", self.label_smoothing, "smoothing of ITC, ITG and words");
    visit("clamp_temperature", self.clamp_temperature, "keep the temperature in [0.001, 0.5]");
  }
};

struct PromptRecipe {
  std::string caption = "a photo of", question = "Question: {} Short answer:";
  bool to_qformer = false;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("caption", self.caption, "prompt before a caption (stage 2)");
    visit("question", self.question, "prompt before an answer, {} stands for the question");
    visit("to_qformer", self.to_qformer,
          "whether the Q-Former reads the prompt, as InstructBLIP's");
  }
};

// Everything that decides a training run. Read from TOML, changed by --set key=value; the file
// docs/recipes.md lists every key.
struct Recipe {
  std::int64_t stage = 1;
  std::string init;
  std::int64_t steps = 1000, batch_size = 48, accumulate = 1, seed = 0, log_every = 10;
  std::string precision = "auto", language_weights = "auto";
  double dropout = 0.1;
  bool train_word_embeddings = true;
  DataRecipe data;
  AugmentationRecipe augmentation;
  ImageEncoderRecipe image_encoder;
  OptimizerRecipe optimizer;
  ScheduleRecipe schedule;
  CheckpointRecipe checkpoint;
  LogRecipe log;
  ObjectivesRecipe objectives;
  PromptRecipe prompt;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("stage", self.stage, "1: represent (ITC, ITM, ITG); 2: speak to the language model");
    visit("init", self.init, "model directory to start from");
    visit("steps", self.steps, "optimiser steps");
    visit("batch_size", self.batch_size, "records a step, over all processes");
    visit("accumulate", self.accumulate,
          "parts in which a batch is computed one after the other, to save memory");
    visit("seed", self.seed, "decides order, dropout, negatives and initial weights");
    visit("log_every", self.log_every, "steps between lines of the log");
    visit("precision", self.precision, "bf16, f32, or auto: bf16 where the processor has it");
    visit("language_weights", self.language_weights,
          "the frozen language model's matrices in stage 2: auto (as precision says), int8, or "
          "stored (a GGUF file's blocks as they are)");
    visit("dropout", self.dropout, "dropout of the Q-Former");
    visit("train_word_embeddings", self.train_word_embeddings, "false: they stay as they are");
    visit("data", self.data, "");
    visit("augmentation", self.augmentation, "");
    visit("image_encoder", self.image_encoder, "");
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

// Checks ranges and what belongs together; Error naming the key.
void validate_recipe(const Recipe& recipe, const std::string& where);

}  // namespace blip2
