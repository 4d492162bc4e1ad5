#include "blip2/data/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kTextChoice = 23;  // sub-stream of the seed

using Ids = std::vector<std::int32_t>;

// Numbers different values in the order of their first use.
template <typename Value>
class Numbering {
 public:
  std::int64_t operator()(const Value& value) {
    const auto [place, fresh] = numbers_.try_emplace(value, values_.size());
    if (fresh) values_.push_back(value);
    return static_cast<std::int64_t>(place->second);
  }
  std::vector<Value> take() { return std::move(values_); }

 private:
  std::map<Value, std::size_t> numbers_;
  std::vector<Value> values_;
};

// Encodes each key once; keys with the same ids get the same number.
class TextNumbering {
 public:
  template <typename Encode>
  std::int64_t operator()(const std::string& key, const Encode& encode) {
    const auto [place, fresh] = known_.try_emplace(key, 0);
    if (fresh) place->second = ids_(encode());
    return place->second;
  }
  std::vector<Ids> take() { return ids_.take(); }

 private:
  std::unordered_map<std::string, std::int64_t> known_;
  Numbering<Ids> ids_;
};

std::int64_t choose(const std::vector<std::int64_t>& texts, std::uint64_t seed,
                    std::optional<std::int64_t> step, std::int64_t item) {
  if (!step || texts.size() == 1) return texts.front();
  return texts[Random(derive_seed(seed, kTextChoice, *step, item)).below(texts.size())];
}

at::Tensor as_tensor(const std::vector<std::int64_t>& values) {
  return torch::tensor(values, at::kLong);
}

Prompt question_prompt(const PromptFormat& format, const std::string& question) {
  if (question.empty()) return format.caption;
  return fill_template(format.question, Prompt::plain(question));
}

// The words' last `most` tokens, where they have more, as a user's turn.
Ids chat_ids(const ChatTemplate& chat, const Tokenizer& tokenizer, const Prompt& words,
             std::int64_t most) {
  const Ids ids = words.encode(tokenizer, false);
  if (std::ssize(ids) <= most) return chat_turn(chat, words).encode(tokenizer, false);
  const auto last = std::span(ids).last(static_cast<std::size_t>(most));
  const std::string rest = tokenizer.decode(last, false);
  return chat_turn(chat, Prompt::plain(rest)).encode(tokenizer, false);
}

Ids target_ids(const PromptFormat& format, const Tokenizer& tokenizer, bool after_prompt,
               const std::string& target) {
  Ids ids = tokenizer.encode((after_prompt ? format.separator : "") + target, false, kWholeText);
  const auto room = format.max_target_tokens - static_cast<std::int64_t>(format.end.size());
  if (std::ssize(ids) > room) ids.resize(static_cast<std::size_t>(room));
  ids.insert(ids.end(), format.end.begin(), format.end.end());
  return ids;
}

}  // namespace

Ids encode_at_most(const Tokenizer& tokenizer, const Prompt& text, std::int64_t most) {
  Ids ids = text.encode(tokenizer, true);
  if (std::ssize(ids) <= most) return ids;
  const std::int32_t last = ids.back();
  ids.resize(static_cast<std::size_t>(most));
  if (tokenizer.special().sep == last) ids.back() = last;
  return ids;
}

RecordPictures number_pictures(std::span<const Record> records) {
  Numbering<std::string> numbers;
  RecordPictures pictures;
  for (const Record& record : records) pictures.of_item.push_back(numbers(record.image));
  pictures.names = numbers.take();
  return pictures;
}

CaptionData::CaptionData(std::span<const Record> records, const Tokenizer& tokenizer,
                         std::int64_t max_tokens) {
  Numbering<std::string> image_ids;
  TextNumbering texts;
  for (const Record& record : records) {
    if (record.captions.empty()) {
      throw Error("expected captions, got a question", fmt::format("record {}", record.line),
                  "stage 1 learns from captions");
    }
    Item item{image_ids(record.image_id), {}};
    for (const std::string& caption : record.captions) {
      item.captions.push_back(texts(
          caption, [&] { return encode_at_most(tokenizer, Prompt::plain(caption), max_tokens); }));
    }
    items_.push_back(std::move(item));
  }
  texts_ = texts.take();
}

CaptionBatch CaptionData::batch(std::span<const std::int64_t> items, std::uint64_t seed,
                                std::optional<std::int64_t> step) const {
  std::vector<std::int64_t> images, captions;
  std::vector<Ids> texts;
  for (const std::int64_t index : items) {
    const Item& item = items_.at(static_cast<std::size_t>(index));
    captions.push_back(choose(item.captions, seed, step, index));
    texts.push_back(texts_[static_cast<std::size_t>(captions.back())]);
    images.push_back(item.image_id);
  }
  return {ragged_text(texts), as_tensor(images), as_tensor(captions)};
}

Ids prompt_ids(const PromptFormat& format, const Tokenizer& tokenizer,
               const std::string& question) {
  const Prompt words = question_prompt(format, question);
  if (format.chat) return chat_ids(*format.chat, tokenizer, words, format.max_prompt_tokens);
  Ids ids = format.start;
  const Ids text = words.encode(tokenizer, false);
  const auto room = std::max<std::int64_t>(0, format.max_prompt_tokens - std::ssize(ids));
  const auto from = text.end() - std::min<std::int64_t>(room, std::ssize(text));
  ids.insert(ids.end(), from, text.end());
  return ids;
}

PromptData::PromptData(std::span<const Record> records, const Tokenizer& tokenizer,
                       const PromptFormat& format, const Tokenizer* instructions)
    : has_instructions_(instructions != nullptr) {
  TextNumbering numbered;
  for (const Record& record : records) {
    std::vector<std::string> targets = record.is_question() ? record.answers : record.captions;
    std::erase(targets, "");  // of VQAv2's ten answers
    if (targets.empty()) {
      throw Error("expected an answer or a caption", fmt::format("record {}", record.line));
    }
    Item item{0, 0, {}, record.is_question()};
    item.prompt = numbered("prompt " + record.question,
                           [&] { return prompt_ids(format, tokenizer, record.question); });
    const Prompt prompt = question_prompt(format, record.question);
    if (instructions) {
      item.instruction = numbered("instruction " + prompt.text(), [&] {
        return encode_at_most(*instructions, prompt, format.max_prompt_tokens);
      });
    }
    for (const std::string& target : targets) {
      const bool separated = !prompt.empty() && !format.chat;
      item.targets.push_back(numbered((separated ? "target " : "alone ") + target, [&] {
        return target_ids(format, tokenizer, separated, target);
      }));
    }
    items_.push_back(std::move(item));
  }
  texts_ = numbered.take();
}

std::vector<std::int64_t> PromptData::target_tokens(std::int64_t lead) const {
  std::set<std::int64_t> tokens;
  for (const Item& item : items_) {
    const Ids& prompt = texts_[static_cast<std::size_t>(item.prompt)];
    tokens.insert(prompt.end() - std::min(lead, std::ssize(prompt)), prompt.end());
    for (const std::int64_t text : item.targets) {
      tokens.insert(texts_[text].begin(), texts_[text].end());
    }
  }
  return {tokens.begin(), tokens.end()};
}

std::vector<std::vector<std::int64_t>> PromptData::prompts() const {
  std::set<std::int64_t> places;
  for (const Item& item : items_) places.insert(item.prompt);
  std::vector<std::vector<std::int64_t>> prompts;
  for (const std::int64_t place : places) {
    const Ids& prompt = texts_[static_cast<std::size_t>(place)];
    prompts.emplace_back(prompt.begin(), prompt.end());
  }
  return prompts;
}

PromptBatch PromptData::batch(std::span<const std::int64_t> items, std::uint64_t seed,
                              std::optional<std::int64_t> step) const {
  const auto text = [&](std::int64_t place) -> const Ids& {
    return texts_[static_cast<std::size_t>(place)];
  };
  std::vector<Ids> instructions;
  PromptBatch batch;
  for (const std::int64_t index : items) {
    const Item& item = items_.at(static_cast<std::size_t>(index));
    const Ids& prompt = text(item.prompt);
    const Ids& target = text(choose(item.targets, seed, step, index));
    batch.prompts.emplace_back(prompt.begin(), prompt.end());
    batch.targets.emplace_back(target.begin(), target.end());
    batch.questions.push_back(item.question);
    if (has_instructions_) instructions.push_back(text(item.instruction));
  }
  if (has_instructions_) batch.instructions = ragged_text(instructions);
  return batch;
}

}  // namespace blip2
