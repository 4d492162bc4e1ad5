#include "blip2/costs/model_speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/costs/fastest.h"
#include "blip2/costs/language_cost.h"
#include "blip2/decoding/generate.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

double picture_seconds(const GenerationModel& model, const SpeedTest& test) {
  const Int side = model.images().encoder().image_size();
  const std::vector<at::Tensor> pixels(static_cast<std::size_t>(test.pictures),
                                       at::zeros({3, side, side}));
  return fastest(test.repeats, [&] { model.project_images(model.images().encode(pixels)); });
}

// Of one step with a token a row, on average over the new tokens.
double step_seconds(LanguageSession& session, const SpeedTest& test) {
  const std::vector<std::int32_t> tokens(static_cast<std::size_t>(test.rows), 0);
  const double all = fastest(1, [&] {
    for (Int i = 0; i < test.new_tokens; ++i) {
      if (interrupted()) throw Interrupted{};
      session.advance(tokens);
    }
  });
  return all / static_cast<double>(test.new_tokens);
}

// The same for one text after the prompt, by greedy or beam search.
double search_seconds(const FrozenLanguage& language, const SpeedTest& test, Int beams) {
  const auto session = language.make_session(test.prompt_tokens, test.new_tokens);
  const auto logits = session->prompt(language.embed(at::zeros({test.prompt_tokens}, at::kLong)),
                                      std::vector<Int>{0, test.prompt_tokens});
  const StepFunction step{session->vocabulary(),
                          [&](auto tokens) {
                            if (interrupted()) throw Interrupted{};
                            return session->advance(tokens);
                          },
                          [&](auto sources) { session->select(sources); }};
  GenerationOptions options;
  options.beams = beams;
  options.max_new_tokens = test.new_tokens + 1;  // the prompt's logits give the first
  const double all = fastest(1, [&] { generate(step, logits, options); });
  return all / static_cast<double>(test.new_tokens);
}

void require_positions(const LanguageConfig& config, const SpeedTest& test) {
  const auto* decoder = std::get_if<DecoderConfig>(&config);
  if (!decoder || test.prompt_tokens + test.new_tokens <= decoder->max_position_embeddings) return;
  throw Error(fmt::format("expected at most the {} positions of the model, got {} + {} tokens",
                          decoder->max_position_embeddings, test.prompt_tokens, test.new_tokens),
              "prompt tokens and new tokens");
}

}  // namespace

ModelSpeed measure_model(const GenerationModel& model, const SpeedTest& test) {
  const at::InferenceMode inference;
  require_positions(*model.config().language, test);
  const FrozenLanguage& language = model.language();
  const Int tokens = test.rows * test.prompt_tokens;
  const at::Tensor embeds = language.embed(at::zeros({tokens}, at::kLong));
  std::vector<Int> offsets{0};
  for (Int i = 0; i < test.rows; ++i) offsets.push_back(offsets.back() + test.prompt_tokens);
  double prefill = std::numeric_limits<double>::infinity(), step = prefill;
  double greedy = prefill, beams = prefill;
  for (int i = 0; i < test.repeats; ++i) {
    if (interrupted()) throw Interrupted{};
    const auto session = language.make_session(test.prompt_tokens, test.new_tokens);
    prefill = std::min(prefill, fastest(1, [&] { session->prompt(embeds, offsets); }));
    step = std::min(step, step_seconds(*session, test));
    greedy = std::min(greedy, search_seconds(language, test, 1));
    beams = std::min(beams, search_seconds(language, test, test.beams));
  }
  const std::vector<Int> prompts(static_cast<std::size_t>(test.rows), test.prompt_tokens);
  const std::vector<Int> first(prompts.size(), 1);
  const Flops flops = language_cost(*model.config().language, {prompts, first}, kF32Bytes).flops;
  ModelSpeed speed;
  speed.pictures_per_second = static_cast<double>(test.pictures) / picture_seconds(model, test);
  speed.prefill_tokens_per_second = static_cast<double>(tokens) / prefill;
  speed.prefill_flops = flops.forward / prefill;
  speed.decode_tokens_per_second = static_cast<double>(test.rows) / step;
  speed.step_bytes = static_cast<double>(language.step_bytes());
  speed.decode_bytes_per_second = speed.step_bytes / step;
  speed.greedy_step_seconds = greedy;
  speed.beam_step_seconds = beams;
  return speed;
}

}  // namespace blip2
