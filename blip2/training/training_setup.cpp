#include "blip2/training/training_setup_internal.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/hash.h"
#include "blip2/base/random.h"
#include "blip2/language/lora_files.h"
#include "blip2/model/directory.h"
#include "blip2/model/generation_config.h"
#include "blip2/model/image_side.h"
#include "blip2/model/language_side.h"
#include "blip2/model/prompts.h"
#include "blip2/processes/rank_work.h"
#include "blip2/processes/ranks.h"
#include "blip2/recipe/compute_type.h"
#include "blip2/recipe/lora_config.h"
#include "blip2/tasks/stage1_task.h"
#include "blip2/tasks/stage2_task.h"
#include "blip2/tasks/starting_model.h"
#include "blip2/tasks/trained_config.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

std::string hash_frozen_files(const StartingModel& start, const Recipe& recipe) {
  std::uint64_t hash = 0;
  const auto add = [&](const fs::path& file) {
    if (fs::exists(file)) hash = hash_bytes(MappedFile::open(file)->bytes(), hash);
  };
  if (!recipe.image_encoder.train) add(start.bridge / kVisionFile);
  add(start.language / kLanguageFile);
  add(start.language / kLanguageGguf);
  if (recipe.stage == 2 && recipe.language.lora_rank == 0) add(start.language / kLoraFile);
  return hash_text(hash);
}

// The stream of projections that start to read a language model.
constexpr std::uint64_t kReadsSeed = 61;

std::uint64_t language_reads_seed(const Recipe& recipe) {
  return derive_seed(static_cast<std::uint64_t>(recipe.seed), kReadsSeed);
}

struct Datasets {
  Dataset train, validation;
};

// Data whose pictures an encoder sees in each step.
Datasets live_datasets(const Recipe& recipe, const StepEncoder& encode,
                       const Preprocessing& preprocessing, std::optional<std::int64_t> sample) {
  const auto load = [&](const std::vector<FeatureSource>& sources, bool plain) {
    // A sample's pictures are looked at elsewhere.
    return load_live_dataset(sources, recipe, encode, preprocessing, {sample, plain && !sample});
  };
  Datasets sets{load(train_sources(recipe), /*plain=*/false), {}};
  if (!recipe.data.validation.empty()) {
    sets.validation = load(validation_sources(recipe), /*plain=*/true);
  }
  return sets;
}

Datasets load_datasets(const Recipe& recipe, std::shared_ptr<const TensorFile> weights,
                       const StartingModel& start, const Ranks* ranks,
                       std::optional<std::int64_t> sample) {
  const auto images =
      std::make_shared<const ImageSide>(start.bridge, std::move(weights), start.config);
  const ImageEncoder& encoder = images->encoder();
  const Preprocessing& preprocessing = images->preprocessing();
  const auto encode = [images](const at::Tensor& pixels, std::span<const std::uint64_t>) {
    const at::NoGradGuard no_grad;
    return images->encoder().forward(pixels);
  };
  if (sample) return live_datasets(recipe, encode, preprocessing, sample);
  const auto sources = train_sources(recipe), held_out = validation_sources(recipe);
  const bool live = recipe.data.features == "live";
  Datasets sets;
  std::vector<RecordFile> files;
  if (live) {
    sets.train = load_live_dataset(sources, recipe, encode, preprocessing);
  } else {
    files = read_sources(sources, recipe);
  }
  auto held_out_files = read_sources(held_out, recipe);
  const auto cache = open_feature_cache(recipe, encoder, preprocessing);  // makes its folder
  if (!live) {
    sets.train = load_dataset(std::move(files), sources, recipe, encoder, cache, ranks);
  }
  if (!held_out.empty()) {
    sets.validation =
        load_dataset(std::move(held_out_files), held_out, recipe, encoder, cache, ranks);
  }
  return sets;
}

// The words objective of stage 1, if the recipe asks for it.
std::optional<CaptionWords> caption_words(const Recipe& recipe, const Blip2Config& config,
                                          const LanguageWeights& weights,
                                          const std::vector<Record>& records) {
  if (recipe.objectives.words <= 0) return std::nullopt;
  const auto tokenizer = load_tokenizer(recipe.init);
  const auto embed = [&](const at::Tensor& ids) {
    return embed_from_file(weights.file, *config.language, compute_type(recipe), weights.prefix,
                           ids);
  };
  PromptFormat format = prompt_format(config, *tokenizer);
  format.max_target_tokens = recipe.data.max_text_tokens;
  return CaptionWords(records, *tokenizer, format, embed, recipe.objectives);
}

MatrixForm trained_through(const Recipe& recipe) {
  if (recipe.language_weights == "int8") return MatrixForm::int8;
  return recipe.language_weights == "stored" ? MatrixForm::blocks : MatrixForm::joined;
}

std::vector<std::string> names_of(const std::vector<LoraModule>& modules) {
  std::vector<std::string> names;
  for (const LoraModule& module : modules) names.push_back(module.name);
  std::sort(names.begin(), names.end());
  return names;
}

// Error unless the recipe describes the adapters that `init` has.
void require_same(const LoraAdapters& kept, const Recipe& recipe,
                  const std::vector<LoraModule>& modules) {
  const LoraConfig &own = kept.config(), asked = lora_config(recipe);
  const auto fail = [&](const char* key, const auto& expected, const auto& got) {
    throw Error(fmt::format("expected {}, as the adapters of {} have it, got {}", expected,
                            recipe.init, got),
                recipe.place(fmt::format("language.{}", key)),
                "training goes on with them; a model without adapters starts new ones");
  };
  if (own.rank != asked.rank) fail("lora_rank", own.rank, asked.rank);
  if (own.alpha != asked.alpha) fail("lora_alpha", own.alpha, asked.alpha);
  std::vector<LoraModule> adapted;
  for (const auto& adapter : kept.adapters()) adapted.push_back(adapter.module);
  if (names_of(adapted) == names_of(modules)) return;
  fail("lora_targets", fmt::format("{} matrices", adapted.size()),
       fmt::format("{} matrices", modules.size()));
}

// The language model's adapters, in f32: those that the recipe trains, which go on from the ones of
// the directory or start anew, or the directory's as they are; nullptr if there are none.
std::shared_ptr<const LoraAdapters> adapters_of(const Recipe& recipe, const LanguageConfig& config,
                                                const fs::path& folder) {
  constexpr std::uint64_t kAdapterSeed = 40;  // of the initial numbers
  LoraConfig asked = lora_config(recipe);
  const bool trains = asked.rank > 0;
  const auto kept = load_lora(folder, config, compute_type(recipe), trains);
  if (!trains) return kept;
  const auto modules = lora_targets(config, asked.targets, recipe.place("language.lora_targets"));
  if (!kept) {
    const auto seed = derive_seed(static_cast<std::uint64_t>(recipe.seed), kAdapterSeed);
    return std::make_shared<const LoraAdapters>(asked, modules, seed);
  }
  require_same(*kept, recipe, modules);
  kept->set_dropout(asked.dropout);
  return kept;
}

// The states of texts, by the recipe: kept beside the features of pictures, or read in each step,
// as of a sample. `open` gives the model.
std::shared_ptr<TextStates> text_states(const Recipe& recipe, const LanguageConfig& config,
                                        const std::string& description,
                                        std::function<TextReader()> open, const Ranks* ranks,
                                        bool sample) {
  const at::ScalarType storage = recipe.data.feature_type == "f32" ? at::kFloat : at::kBFloat16;
  if (sample || recipe.data.features == "live") {
    return std::make_shared<TextStates>(open(), storage);
  }
  EnsureOptions options;
  options.label = "states of texts";
  options.quiet = !is_main_process(ranks);
  if (ranks) options.meanwhile = [ranks] { ranks->check(); };
  TextStateCache cache(recipe.data.cache, {description, language_width(config), storage});
  return std::make_shared<TextStates>(std::move(cache), std::move(open), std::move(options));
}

TextReader reader_of(const FrozenLanguage& language) {
  return [language](std::span<const TokenIds> texts) { return language.read(texts); };
}

// How stage 1 reads captions for the Q-Former, if it does. The model is loaded for what is missing
// of its states, and let go.
std::optional<LanguageReading> caption_reading(const Recipe& recipe, TrainingSetup& setup,
                                               const LanguageWeights& weights,
                                               const std::filesystem::path& folder,
                                               const Ranks* ranks, bool sample) {
  const Blip2Config& config = setup.bridge->config();
  if (!trains_reads(config, recipe)) return std::nullopt;
  setup.language_tokenizer = load_tokenizer(folder);
  check_vocabulary(*setup.language_tokenizer, vocabulary_of(*config.language), folder);
  const at::ScalarType type = compute_type(recipe);
  const auto open = [weights, type, language = *config.language] {
    return reader_of(load_frozen_language(weights.file, language, type, weights.prefix));
  };
  const std::string description =
      sample ? "" : describe_language(weights, *config.language, type, MatrixForm::stored);
  return LanguageReading{text_states(recipe, *config.language, description, open, ranks, sample),
                         *config.language, *setup.language_tokenizer};
}

// Stage 2 with the language model of the directory.
std::unique_ptr<TrainingTask> speaking_task(const Recipe& recipe, TrainingSetup& setup,
                                            const LanguageConfig& config,
                                            const LanguageWeights& weights, const Ranks* ranks,
                                            bool sample) {
  if (recipe.language_weights == "stored" && !is_gguf(*weights.file)) {
    throw Error(fmt::format("stored means a GGUF file's blocks, {} has no GGUF file", recipe.init),
                recipe.place("language_weights"),
                "`blip2 convert --weights` makes one; auto is for other models");
  }
  const StageTokenizers tokenizers{*setup.language_tokenizer, *setup.qformer_tokenizer};
  const auto lora = adapters_of(recipe, config, recipe.init);
  if (lora && setup.bridge->config().qformer.reads_language()) {
    throw Error("the Q-Former reads the language model, which adapters would change under it",
                recipe.language.lora_rank > 0 ? recipe.place("language.lora_rank") : recipe.init,
                "train without adapters, or merge them first (convert --merge-lora)");
  }
  FrozenLanguage language = load_frozen_language(weights.file, config, compute_type(recipe),
                                                 weights.prefix, trained_through(recipe), lora);
  if (lora && lora->trained()) setup.lora = lora;
  std::shared_ptr<TextStates> states;
  if (setup.bridge->config().qformer.reads_language()) {
    const std::string description =
        sample ? ""
               : describe_language(weights, config, compute_type(recipe), trained_through(recipe));
    const auto open = [language] { return reader_of(language); };
    states = text_states(recipe, config, description, open, ranks, sample);
  }
  return make_stage2_task(recipe, setup.bridge, std::move(language), tokenizers,
                          setup.train.records, setup.validation.records, std::move(states), ranks);
}

}  // namespace

TrainingSetup open_training(const Recipe& recipe, const Ranks* ranks,
                            std::optional<std::int64_t> sample) {
  const StartingModel start = starting_model(recipe);
  const Blip2Config& initial = start.config;
  require_trainable(initial, recipe);
  const std::shared_ptr<const TensorFile> weights = open_model_weights(start.bridge);
  const LanguageWeights language = language_weights(
      start.language, start.language == start.bridge ? weights : open_model_weights(start.language),
      initial.language);
  TrainingSetup setup;
  const Blip2Config config = trained_config(initial, recipe);
  const bool new_reads = config.qformer.reads_language() && !initial.qformer.reads_language();
  setup.bridge = load_bridge(weights, config, /*trainable=*/true,
                             new_reads ? std::optional(language_reads_seed(recipe)) : std::nullopt);
  setup.qformer_tokenizer = load_tokenizer(start.bridge / kQFormerTokenizer);
  if (!sample) setup.frozen_hash = hash_frozen_files(start, recipe);
  Datasets sets;
  if (recipe.image_encoder.train) {
    setup.encoder = std::make_shared<const TrainedEncoder>(recipe, weights, initial.vision);
    const auto encode = [encoder = setup.encoder](const auto& pixels, auto seeds) {
      return encoder->encode(pixels, seeds);
    };
    sets = live_datasets(recipe, encode, setup.encoder->preprocessing(), sample);
  } else {
    sets = load_datasets(recipe, weights, start, ranks, sample);
  }
  setup.train = std::move(sets.train);
  setup.validation = std::move(sets.validation);
  const auto &train = setup.train.records, &validation = setup.validation.records;
  if (recipe.stage == 1) {
    auto words = caption_words(recipe, setup.bridge->config(), language, train);
    auto reading =
        caption_reading(recipe, setup, language, start.language, ranks, sample.has_value());
    setup.task = make_stage1_task(recipe, setup.bridge, *setup.qformer_tokenizer, train, validation,
                                  std::move(words), std::move(reading), ranks);
    return setup;
  }
  setup.language_tokenizer = load_tokenizer(start.language);
  setup.task = speaking_task(recipe, setup, *initial.language, language, ranks, sample.has_value());
  return setup;
}

TaskLoss training_loss(const TrainingSetup& setup, std::span<const std::int64_t> items,
                       std::int64_t step, std::int64_t part) {
  TrainingTask& task = *setup.task;
  return task.train({items, setup.train.gather(items, task.data_seed(), step)}, step, part);
}

AdamW make_optimizer(const TrainingSetup& setup, const Recipe& recipe) {
  std::vector<NamedTensor> parameters = trained_tensors(*setup.bridge, recipe);
  if (setup.lora) {
    for (auto& [name, tensor] : setup.lora->tensors()) parameters.push_back({name, tensor});
  }
  if (!setup.encoder) return {std::move(parameters), recipe.optimizer};
  std::vector<double> lr_scales(parameters.size(), 1.0);
  const auto& more = setup.encoder->parameters();
  const auto& scales = setup.encoder->lr_scales();
  parameters.insert(parameters.end(), more.begin(), more.end());
  lr_scales.insert(lr_scales.end(), scales.begin(), scales.end());
  return {std::move(parameters), recipe.optimizer, lr_scales};
}

void export_model(const TrainingSetup& setup, const Recipe& recipe, const fs::path& folder) {
  const StartingModel start = starting_model(recipe);
  const Blip2Config& config = setup.bridge->config();
  link_frozen_parts(start.bridge, folder, /*with_language=*/true);
  if (start.language != start.bridge) link_language(start.language, folder);
  if (setup.encoder) setup.encoder->save(folder);
  if (setup.lora) save_lora(*setup.lora, *config.language, folder);
  save_bridge(*setup.bridge, folder);
  if (config.language) {
    write_own_generation_config(start.language, config, *load_tokenizer(start.language),
                                /*guard=*/true, folder);
  }
  write_weight_index(folder);
  if (recipe.stage == 2) keep_stage1(start.bridge, folder / kStage1Folder);
}

}  // namespace blip2
