#include "blip2/answers/record_answers.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "blip2/base/progress.h"
#include "blip2/model/batched_generation.h"
#include "blip2/model/prompts.h"
#include "blip2/processes/rank_work.h"
#include "blip2/processes/ranks.h"
#include "blip2/retrieval/caption_choice.h"

namespace blip2 {
namespace {

// All processes' answers at rank 0.
std::vector<RecordAnswer> collect_answers(const Ranks* ranks, std::span<const RecordAnswer> own) {
  std::vector<std::string> texts, failures, probabilities;
  for (const RecordAnswer& answer : own) {
    texts.push_back(answer.text);
    failures.push_back(answer.failure);
    probabilities.push_back(answer.probability ? fmt::format("{}", *answer.probability) : "");
  }
  texts = collect_texts(ranks, std::move(texts));
  failures = collect_texts(ranks, std::move(failures));
  probabilities = collect_texts(ranks, std::move(probabilities));
  std::vector<RecordAnswer> answers;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    answers.push_back({std::move(texts[i]), std::move(failures[i])});
    if (!probabilities[i].empty()) answers.back().probability = std::stod(probabilities[i]);
  }
  return answers;
}

}  // namespace

void write_answers(const GenerationModel& model, std::span<const Record> records,
                   const std::string& caption_prompt, const std::string& question_prompt,
                   const GenerationOptions& options, std::int64_t batch_size,
                   const TakeAnswer& take) {
  std::vector<PromptedImage> asked;
  for (const Record& record : records) {
    asked.push_back({record.image, record_prompt(record, caption_prompt, question_prompt)});
  }
  generate_in_batches(
      model, asked, options, batch_size,
      [&](std::size_t, const std::vector<GeneratedText>& texts) { take({texts[0].text}); },
      [&](std::size_t, const std::string& what) {
        take({"", what});
      });
}

void choose_answers(const CaptionChooser& chooser, std::span<const Record> records,
                    std::int64_t batch_size, const TakeAnswer& take) {
  std::vector<std::string> images;
  for (const Record& record : records) images.push_back(record.image);
  chooser.choose_in_batches(images, batch_size, [&](std::size_t, ChosenCaption chosen) {
    take({std::move(chosen.text), std::move(chosen.fault), chosen.probability});
  });
}

std::vector<RecordAnswer> answer_records(
    std::span<const Record> records, std::int64_t batch_size, const std::string& label,
    const Ranks* ranks,
    const std::function<void(std::span<const Record>, const TakeAnswer&)>& answer) {
  const IndexRange part = own_part(ranks, records.size(), static_cast<std::size_t>(batch_size));
  const auto own = records.subspan(part.begin, part.size());
  std::optional<Progress> progress;
  if (is_main_process(ranks)) progress.emplace(label, std::ssize(own));
  std::vector<RecordAnswer> answers;
  answer(own, [&](RecordAnswer one) {
    if (ranks) ranks->check();
    answers.push_back(std::move(one));
    if (progress) progress->update(std::ssize(answers));
  });
  if (progress) progress->finish();
  return collect_answers(ranks, answers);
}

std::vector<RecordAnswer> drop_unreadable(RecordFile& file, std::vector<RecordAnswer> answers,
                                          const BadRecordPolicy& policy) {
  std::map<std::string, std::string> unreadable;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].failure.empty()) {
      unreadable.emplace(file.records[i].image, answers[i].failure);
    }
  }
  std::erase_if(answers, [](const RecordAnswer& answer) { return !answer.failure.empty(); });
  drop_pictures(file, unreadable, policy);
  return answers;
}

}  // namespace blip2
