#include "blip2/serving/writing_internal.h"

#include <utility>

#include "blip2/model/soft_prompts.h"
#include "blip2/model/written_text.h"

namespace blip2 {

Writing::Writing(TicketPtr ticket, const GenerationModel& model)
    : ticket_(std::move(ticket)),
      model_(model),
      search_(model.search(ticket_->text->options, ticket_->tokens)) {
  const GenerationOptions& options = ticket_->text->options;
  const auto answers = static_cast<std::size_t>(options.return_sequences);
  told_.assign(answers, {TextStream(model.tokenizer(), options.stop_strings)});
}

void Writing::see_prompt() {
  const KnownPicture& picture = ticket_->pictures.front().known;
  soft_ = model_.config().prompt_matters()
              ? model_.soft_prompts_of(model_.project_images(picture.features)[0],
                                       ticket_->text->prompt)
              : picture.soft;
}

at::Tensor Writing::input() const {
  return language_input(model_.language(), soft_, {ticket_->tokens}).embeds;
}

void Writing::advance(std::span<const float> logits) {
  moves_ = search_->advance(logits);
}

std::vector<ScoredToken> Writing::scored(std::span<const ChosenToken> tokens) const {
  const auto score = [&](const TokenLog& token) -> TokenScore {
    return {token.token, model_.tokenizer().bytes(token.token), token.log_probability};
  };
  std::vector<ScoredToken> all;
  for (const ChosenToken& token : tokens) {
    ScoredToken& one = all.emplace_back(ScoredToken{score(token), {}});
    for (const TokenLog& other : token.top) one.top.push_back(score(other));
  }
  return all;
}

void Writing::tell_piece(std::int64_t choice, std::string text,
                         std::vector<ScoredToken> tokens) const {
  if (text.empty() && tokens.empty()) return;
  call_owner([&] { ticket_->text->on_text({choice, std::move(text), std::move(tokens)}); });
}

void Writing::tell_new(std::size_t i, const Search::Written& answer) {
  Told& told = told_[i];
  if (told.ended) return;
  told.ended = answer.ended;
  const auto& stops = ticket_->text->options.stop_strings;
  std::string text = answer.ended
                         ? told.stream.rest(written_text(model_.tokenizer(), answer.tokens, stops))
                         : told.stream.more(answer.tokens);
  const auto tokens = answer.chosen.subspan(told.tokens);
  told.tokens = answer.chosen.size();
  tell_piece(static_cast<std::int64_t>(i), std::move(text), scored(tokens));
}

TextResult Writing::result() const {
  TextResult result;
  result.prompt_tokens = model_.config().num_query_tokens + std::ssize(ticket_->tokens);
  if (ticket_->pictures.front().hit) result.cached_tokens = model_.config().num_query_tokens;
  for (Generated& one : search_->results()) {
    result.written_tokens += std::ssize(one.tokens);
    result.texts.push_back(
        {written_text(model_.tokenizer(), one.tokens, ticket_->text->options.stop_strings),
         std::move(one.tokens), one.score, one.cut, scored(one.chosen)});
  }
  result.queued = seconds_between(ticket_->submitted, started_);
  result.reading = seconds_between(started_, read_);
  result.writing = seconds_between(read_, EngineClock::now());
  return result;
}

void Writing::tell_all(Tally& tally) {
  TextResult whole = result();
  tally.change([&](EngineCounts& counts) {
    counts.prompt_tokens += whole.prompt_tokens;
    counts.written_tokens += whole.written_tokens;
  });
  for (std::size_t i = 0; ticket_->text->on_text && i < whole.texts.size(); ++i) {
    if (told_[i].ended) continue;
    tell_piece(static_cast<std::int64_t>(i), whole.texts[i].text, whole.texts[i].scored);
  }
  tally.finish(*ticket_, [&] {
    if (ticket_->text->on_done) ticket_->text->on_done(std::move(whole));
  });
}

void Writing::tell(Tally& tally) {
  if (std::exchange(first_, false)) {
    read_ = EngineClock::now();
    tally.change([&](EngineCounts& counts) {
      counts.first_token.add(seconds_between(ticket_->submitted, read_));
    });
  }
  if (ticket_->text->on_text) {
    const auto answers = search_->written();
    for (std::size_t i = 0; i < answers.size(); ++i) tell_new(i, answers[i]);
  }
  if (ended()) tell_all(tally);
}

}  // namespace blip2
