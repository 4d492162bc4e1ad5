#include "blip2/training/session.h"

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/hash.h"
#include "blip2/model/directory.h"
#include "blip2/model/generation_config.h"
#include "blip2/model/image_side.h"
#include "blip2/model/prompts.h"
#include "blip2/training/stage1_task.h"
#include "blip2/training/stage2_task.h"
#include "blip2/training/starting_model.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

std::string hash_frozen_files(const StartingModel& start, bool with_vision) {
  std::uint64_t hash = 0;
  const auto add = [&](const fs::path& file) {
    if (fs::exists(file)) hash = hash_bytes(MappedFile::open(file)->bytes(), hash);
  };
  if (with_vision) add(start.bridge / kVisionFile);
  add(start.language / kLanguageFile);
  return hash_text(hash);
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
  Datasets sets{load(train_sources(recipe.data), /*plain=*/false), {}};
  if (!recipe.data.validation.empty()) {
    sets.validation = load(plain_sources(recipe.data.validation), /*plain=*/true);
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
  const auto cache = open_feature_cache(recipe, encoder, preprocessing);
  const DataRecipe& data = recipe.data;
  Datasets sets;
  if (data.features == "live") {
    sets.train = load_live_dataset(train_sources(data), recipe, encode, preprocessing);
  } else {
    sets.train = load_dataset(train_sources(data), recipe, encoder, cache, ranks);
  }
  if (!data.validation.empty()) {
    sets.validation = load_dataset(plain_sources(data.validation), recipe, encoder, cache, ranks);
  }
  return sets;
}

// The words objective of stage 1, if the recipe asks for it.
std::optional<CaptionWords> caption_words(const Recipe& recipe, const Blip2Config& config,
                                          std::shared_ptr<const TensorFile> weights,
                                          const std::vector<Record>& records) {
  if (recipe.objectives.words <= 0) return std::nullopt;
  const auto tokenizer = load_tokenizer(recipe.init);
  const FrozenLanguage language = load_frozen_language(std::move(weights), *config.language,
                                                       compute_type(recipe), kLanguagePrefix);
  PromptFormat format = prompt_format(config, *tokenizer);
  format.max_target_tokens = recipe.data.max_text_tokens;
  return CaptionWords(records, *tokenizer, format, language, recipe.objectives);
}

// The objectives that only one kind of language model can be trained by.
void require_objectives(const std::optional<LanguageConfig>& language, const Recipe& recipe) {
  const ObjectivesRecipe& objectives = recipe.objectives;
  if (!language) {
    if (objectives.words <= 0) return;
    throw Error("the model has no language model", "objectives.words",
                "its words are what soft prompts shall point to; set it to 0");
  }
  const bool encoder_decoder = has_encoder(*language);
  if (encoder_decoder && objectives.words > 0) {
    throw Error("the words objective needs a decoder-only language model, got an encoder-decoder",
                "objectives.words", "set it to 0, and objectives.lm_from with it");
  }
  if (recipe.stage == 2 && !encoder_decoder && objectives.prefix_lm > 0) {
    throw Error("prefix language modelling needs an encoder-decoder, got a decoder-only model",
                "objectives.prefix_lm", "set it to 0; objectives.lm reads and says captions");
  }
}

// Stage 2 with the language model of the directory.
std::unique_ptr<TrainingTask> speaking_task(const Recipe& recipe, const Session& session,
                                            const LanguageConfig& config,
                                            std::shared_ptr<const TensorFile> weights,
                                            const Ranks* ranks) {
  const StageTokenizers tokenizers{*session.language_tokenizer, *session.qformer_tokenizer};
  const MatrixForm form = recipe.language_weights == "int8" ? MatrixForm::int8 : MatrixForm::joined;
  FrozenLanguage language =
      load_frozen_language(std::move(weights), config, compute_type(recipe), kLanguagePrefix, form);
  return make_stage2_task(recipe, session.bridge, std::move(language), tokenizers,
                          session.train.records, session.validation.records, ranks);
}

}  // namespace

Blip2Config trained_config(Blip2Config config, const Recipe& recipe) {
  config.qformer.hidden_dropout_prob = recipe.dropout;
  config.qformer.attention_probs_dropout_prob = recipe.dropout;
  if (recipe.stage == 2) {
    config.stage1_heads = recipe.objectives.contrast > 0;
    config.reads_prompt = recipe.prompt.to_qformer;
  }
  if (recipe.image_encoder.train) config.vision = trained_vision(config.vision, recipe);
  if (recipe.stage == 2 || recipe.objectives.words > 0) {
    config.caption_prompt = recipe.prompt.caption;
    config.question_prompt = recipe.prompt.question;
  }
  return config;
}

void require_trainable(const Blip2Config& config, const Recipe& recipe) {
  if (recipe.stage == 1 && !config.stage1_heads) {
    throw Error("the model has no stage-1 heads", recipe.init,
                "start stage 1 from a directory that `blip2 convert` or stage 1 wrote, or that has "
                "stage1/");
  }
  if (recipe.stage == 2 && recipe.objectives.contrast > 0 && !config.stage1_heads) {
    throw Error("contrast needs stage-1 heads, which the model does not have", recipe.init,
                "start from stage 1's directory, or set objectives.contrast to 0");
  }
  if (recipe.stage == 2 && !config.language) {
    throw Error("the model has no language model", recipe.init,
                "give one when assembling it with `blip2 convert`");
  }
  if (config.layout != ModelLayout::own) {
    throw Error("training starts from a directory in this program's own layout, got " +
                    architecture_of(config.layout),
                recipe.init, "`blip2 convert` assembles one of its parts");
  }
  require_objectives(config.language, recipe);
}

Session open_session(const Recipe& recipe, const Ranks* ranks, std::optional<std::int64_t> sample) {
  const StartingModel start = starting_model(recipe);
  const Blip2Config& initial = start.config;
  require_trainable(initial, recipe);
  const std::shared_ptr<const TensorFile> weights = open_model_weights(start.bridge);
  const auto language =
      start.language == start.bridge ? weights : open_model_weights(start.language);
  Session session;
  session.bridge = load_bridge(weights, trained_config(initial, recipe), /*trainable=*/true);
  session.qformer_tokenizer = load_tokenizer(start.bridge / kQFormerTokenizer);
  if (!sample) session.frozen_hash = hash_frozen_files(start, !recipe.image_encoder.train);
  Datasets sets;
  if (recipe.image_encoder.train) {
    session.encoder = std::make_shared<const TrainedEncoder>(recipe, weights, initial.vision);
    const auto encode = [encoder = session.encoder](const auto& pixels, auto seeds) {
      return encoder->encode(pixels, seeds);
    };
    sets = live_datasets(recipe, encode, session.encoder->preprocessing(), sample);
  } else {
    sets = load_datasets(recipe, weights, start, ranks, sample);
  }
  session.train = std::move(sets.train);
  session.validation = std::move(sets.validation);
  const auto &train = session.train.records, &validation = session.validation.records;
  if (recipe.stage == 1) {
    auto words = caption_words(recipe, session.bridge->config(), language, train);
    session.task = make_stage1_task(recipe, session.bridge, *session.qformer_tokenizer, train,
                                    validation, std::move(words), ranks);
    return session;
  }
  session.language_tokenizer = load_tokenizer(start.language);
  session.task = speaking_task(recipe, session, *initial.language, language, ranks);
  return session;
}

TaskLoss training_loss(const Session& session, std::span<const std::int64_t> items,
                       std::int64_t step, std::int64_t part) {
  TrainingTask& task = *session.task;
  return task.train({items, session.train.gather(items, task.data_seed(), step)}, step, part);
}

AdamW make_optimizer(const Session& session, const Recipe& recipe) {
  std::vector<NamedTensor> parameters = trained_tensors(*session.bridge, recipe);
  if (!session.encoder) return {std::move(parameters), recipe.optimizer};
  std::vector<double> lr_scales(parameters.size(), 1.0);
  const auto& more = session.encoder->parameters();
  const auto& scales = session.encoder->lr_scales();
  parameters.insert(parameters.end(), more.begin(), more.end());
  lr_scales.insert(lr_scales.end(), scales.begin(), scales.end());
  return {std::move(parameters), recipe.optimizer, lr_scales};
}

void export_model(const Session& session, const Recipe& recipe, const fs::path& folder) {
  const StartingModel start = starting_model(recipe);
  const Blip2Config& config = session.bridge->config();
  link_frozen_parts(start.bridge, folder, /*with_language=*/true);
  if (start.language != start.bridge) link_language(start.language, folder);
  if (session.encoder) session.encoder->save(folder);
  save_bridge(*session.bridge, folder);
  if (config.language) {
    write_own_generation_config(start.language, config, *load_tokenizer(start.language),
                                /*guard=*/true, folder);
  }
  write_weight_index(folder);
  if (recipe.stage == 2) keep_stage1(start.bridge, folder / kStage1Folder);
}

}  // namespace blip2
