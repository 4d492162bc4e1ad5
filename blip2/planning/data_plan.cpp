#include "blip2/planning/data_plan_internal.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "blip2/base/random.h"
#include "blip2/costs/language_cost.h"
#include "blip2/data/batch.h"
#include "blip2/data/records.h"
#include "blip2/data/sampler.h"
#include "blip2/model/directory.h"
#include "blip2/model/prompts.h"
#include "blip2/tasks/dataset.h"
#include "blip2/tasks/stage1_objectives.h"
#include "blip2/tasks/starting_model.h"
#include "blip2/tasks/trained_config.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using Lengths = std::vector<Int>;

constexpr Int kSteps = 32;  // looked at

// Steps of the run: all of them, or one of each of kSteps stretches, and the last.
Lengths chosen_steps(const Recipe& recipe) {
  Lengths steps;
  if (recipe.steps <= kSteps) {
    for (Int step = 0; step < recipe.steps; ++step) steps.push_back(step);
    return steps;
  }
  Random random(derive_seed(static_cast<std::uint64_t>(recipe.seed), kSteps));
  for (Int i = 0; i < kSteps; ++i) {
    const double place = static_cast<double>(i) + random.uniform();
    const double step = place * static_cast<double>(recipe.steps) / static_cast<double>(kSteps);
    steps.push_back(std::min(static_cast<Int>(step), recipe.steps - 1));
  }
  steps.push_back(recipe.steps - 1);
  return steps;
}

struct ScannedFiles {
  std::vector<Record> records;
  std::vector<SampleSource> sources;
  Int rows = 0, pictures = 0;
};

ScannedFiles scan_sources(const std::vector<FeatureSource>& sources, const Recipe& recipe) {
  ScannedFiles files;
  std::map<std::string, Int> views;
  for (const FeatureSource& source : sources) {
    RecordFile file = read_source(source, recipe);
    files.sources.push_back({std::ssize(file.records), source.weight});
    for (const Record& record : file.records) {
      Int& most = views[record.image];
      most = std::max(most, source.views);
    }
    files.records.insert(files.records.end(), std::make_move_iterator(file.records.begin()),
                         std::make_move_iterator(file.records.end()));
  }
  for (const auto& [picture, count] : views) files.rows += count;
  files.pictures = std::ssize(views);
  return files;
}

// Held about twice: as read, and as tokens.
double bytes_of(const std::vector<Record>& records) {
  constexpr double kOfString = 32;
  double bytes = 0;
  for (const Record& record : records) {
    std::size_t text = record.image.size() + record.image_id.size() + record.question.size();
    std::size_t strings = 2;
    for (const auto* texts : {&record.captions, &record.answers}) {
      strings += texts->size();
      for (const std::string& one : *texts) text += one.size();
    }
    bytes += static_cast<double>(sizeof(Record) + text) + kOfString * static_cast<double>(strings);
  }
  return 2 * bytes;
}

template <typename Id>
Lengths lengths_of(const std::vector<std::vector<Id>>& texts) {
  Lengths lengths;
  for (const auto& text : texts) lengths.push_back(std::ssize(text));
  return lengths;
}

// Notes texts whose states are kept.
void keep_states(PlannedData& data, const Recipe& recipe, const Blip2Config& config,
                 const Lengths& texts, Int times = 1) {
  if (recipe.data.features == "live" || texts.empty() || times == 0) return;
  data.state_texts += times * std::ssize(texts);
  data.state_tokens += static_cast<double>(times) * total_of(texts);
  data.state_flops += static_cast<double>(times) * reading_flops(*config.language, texts);
}

// How often stage 1 reads each caption: as it is, and masked in some ways.
Int caption_readings(const Recipe& recipe, Int ways) {
  const auto weights = stage1_weights(recipe.objectives);
  return (reads_language(weights, &Stage1Language::plain) ? 1 : 0) +
         (reads_language(weights, &Stage1Language::masked) ? ways : 0);
}

// Draws the run's batches, and lets `read` note their texts.
template <typename Read>
void draw_steps(PlannedData& data, const Recipe& recipe, const ScannedFiles& files,
                const Read& read) {
  Sampler sampler(files.sources, sampler_options(recipe, number_pictures(files.records)));
  for (const Int step : chosen_steps(recipe)) {
    StepTexts texts;
    texts.samples = recipe.batch_size;
    read(texts, sampler.batch(step), step);
    data.steps.push_back(std::move(texts));
  }
  data.epochs = sampler.epoch(recipe.steps);
}

void scan_captions(PlannedData& data, const Recipe& recipe, const Blip2Config& config,
                   const ScannedFiles& files) {
  const StartingModel start = starting_model(recipe);
  const auto tokenizer = load_tokenizer(start.bridge / kQFormerTokenizer);
  const CaptionData captions(files.records, *tokenizer, recipe.data.max_text_tokens);
  const auto seed = static_cast<std::uint64_t>(recipe.seed);
  // The language model's tokens of a caption are taken to be as many as the Q-Former's.
  const bool reads = trains_reads(config, recipe);
  draw_steps(data, recipe, files, [&](StepTexts& texts, const Lengths& items, Int step) {
    texts.qformer = captions.batch(items, seed, step).texts.lengths;
    if (reads) texts.language = texts.qformer;
  });
  if (reads) {
    keep_states(data, recipe, config, lengths_of(captions.texts()),
                caption_readings(recipe, recipe.objectives.mlm_ways));
  }
  if (recipe.objectives.words <= 0 || !config.language) return;
  const auto language = load_tokenizer(start.language);
  const PromptData words(files.records, *language, prompt_format(config, *language));
  data.word_targets = std::ssize(words.target_tokens(recipe.objectives.words_lead));
}

void scan_prompts(PlannedData& data, const Recipe& recipe, const Blip2Config& config,
                  const ScannedFiles& files) {
  const std::filesystem::path init = recipe.init;
  const auto language = load_tokenizer(init), qformer = load_tokenizer(init / kQFormerTokenizer);
  PromptFormat format = prompt_format(config, *language);
  format.max_prompt_tokens = format.max_target_tokens = recipe.data.max_text_tokens;
  const PromptData prompts(files.records, *language, format,
                           recipe.prompt.to_qformer ? qformer.get() : nullptr);
  const auto seed = static_cast<std::uint64_t>(recipe.seed);
  draw_steps(data, recipe, files, [&](StepTexts& texts, const Lengths& items, Int step) {
    const PromptBatch batch = prompts.batch(items, seed, step);
    if (batch.instructions) texts.qformer = batch.instructions->lengths;
    texts.prompts = lengths_of(batch.prompts);
    texts.targets = lengths_of(batch.targets);
    texts.whole = batch.questions;
    if (config.qformer.reads_language()) texts.language = texts.prompts;
  });
  if (config.qformer.reads_language()) {
    keep_states(data, recipe, config, lengths_of(prompts.prompts()));
  }
  if (recipe.objectives.words > 0) {
    data.word_targets = std::ssize(prompts.target_tokens(recipe.objectives.words_lead));
  }
}

}  // namespace

PlannedData scan_data(const Recipe& recipe, const Blip2Config& config) {
  const DataRecipe& data = recipe.data;
  const ScannedFiles files = scan_sources(train_sources(recipe), recipe);
  PlannedData planned;
  planned.records = std::ssize(files.records);
  planned.pictures = files.pictures;
  planned.rows = data.features == "live" ? 0 : files.rows;
  planned.record_bytes = bytes_of(files.records);
  if (!data.validation.empty()) {
    const auto held_out = scan_sources(validation_sources(recipe), recipe);
    planned.validation_records = std::ssize(held_out.records);
    planned.validation_pictures = held_out.pictures;
    planned.rows += held_out.rows;
    planned.record_bytes += bytes_of(held_out.records);
  }
  if (recipe.stage == 1) {
    scan_captions(planned, recipe, config, files);
  } else {
    scan_prompts(planned, recipe, config, files);
  }
  return planned;
}

PlannedData assume_data(const Recipe& recipe, const Blip2Config& config, std::int64_t records) {
  constexpr double kRecordBytes = 2 * 400;  // as bytes_of has it, of a path and a sentence
  PlannedData planned;
  planned.records = planned.pictures = records;
  planned.rows = recipe.data.features == "live" ? 0 : records * (1 + recipe.data.views);
  planned.record_bytes = kRecordBytes * static_cast<double>(records);
  planned.epochs = static_cast<double>(recipe.steps) * static_cast<double>(recipe.batch_size) /
                   static_cast<double>(records);
  const Lengths full(static_cast<std::size_t>(recipe.batch_size), recipe.data.max_text_tokens);
  const std::size_t steps = chosen_steps(recipe).size();
  const bool reads = recipe.stage == 1 && trains_reads(config, recipe);  // prompts are left out
  if (reads) {
    keep_states(planned, recipe, config, {recipe.data.max_text_tokens},
                records * caption_readings(recipe, recipe.objectives.mlm_ways));
  }
  for (std::size_t i = 0; i < steps; ++i) {
    StepTexts texts;
    texts.samples = recipe.batch_size;
    if (recipe.stage == 1 || recipe.prompt.to_qformer) texts.qformer = full;
    if (reads) texts.language = full;
    if (recipe.stage == 2) {
      texts.prompts.assign(full.size(), 0);
      texts.targets = full;
      texts.whole.assign(full.size(), false);
    }
    planned.steps.push_back(std::move(texts));
  }
  return planned;
}

}  // namespace blip2
