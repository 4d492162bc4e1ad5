#include "blip2/serving/preparation_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "blip2/base/error.h"
#include "blip2/image/image.h"

namespace blip2 {
namespace {

constexpr std::size_t kTextsAtOnce = 64;  // of a job's texts in one pass of the Q-Former

// An Error that says what it means for the job.
struct Refusal {
  JobFault fault;
  std::string message;
};

void require(bool condition, JobFault fault, const std::string& message) {
  if (!condition) throw Refusal{fault, message};
}

at::Tensor pixels_of(const JobPicture& picture, const Preprocessing& preprocessing,
                     std::int64_t max_pixels) {
  ImageLimits limits;
  limits.max_pixels = max_pixels;
  const auto bytes = std::as_bytes(std::span(picture.bytes));
  try {
    const Image image = decode_image(bytes, picture.name, preprocessing.sixteen_bit, limits);
    return to_tensor(preprocess(image, preprocessing));
  } catch (const Error& error) {
    throw Refusal{JobFault::bad_picture, error.what()};
  } catch (const std::bad_alloc&) {
    throw Refusal{JobFault::bad_picture, picture.name + ": there is no memory to decode it"};
  }
}

}  // namespace

void Preparation::prepare_picture(Ticket& ticket, JobPicture& picture) const {
  PreparedPicture prepared;
  prepared.key = hash_(std::as_bytes(std::span(picture.bytes)));
  prepared.known = cache_.find(prepared.key);
  const bool known = models_.knows_enough(ticket, prepared.known);
  tally_.change([&](EngineCounts& counts) { ++(known ? counts.cache_hits : counts.cache_misses); });
  if (!known) {
    prepared.pixels =
        pixels_of(picture, models_.preprocessing(ticket), options_.max_picture_pixels);
  }
  prepared.hit = known;
  std::string().swap(picture.bytes);  // an assignment would keep its memory
  ticket.pictures.push_back(std::move(prepared));
}

// An answer ends where the model's positions do, as one that reached max_new_tokens.
void Preparation::fit_answer(Ticket& ticket) const {
  const EngineFacts& facts = models_.facts();
  GenerationOptions& options = ticket.text->options;
  const std::int64_t prompt = facts.queries + std::ssize(ticket.tokens);
  const std::int64_t room = facts.positions - prompt;
  require(room >= 1 && options.min_new_tokens <= room, JobFault::too_long,
          fmt::format("the prompt has {} tokens with the picture's and the answer at least {}; the "
                      "model reads at most {} together",
                      prompt, std::max<std::int64_t>(options.min_new_tokens, 1), facts.positions));
  options.max_new_tokens = std::min(options.max_new_tokens, room);
}

void Preparation::prepare_text(Ticket& ticket) const {
  require(models_.writing().has_value(), JobFault::bad_request,
          "the model has no language model: it writes no texts");
  const GenerationOptions& asked = ticket.text->options;
  try {
    validate(asked);
  } catch (const Error& error) {
    throw Refusal{JobFault::bad_request, error.message()};
  }
  require(ticket.rows() <= options_.max_batch, JobFault::bad_request,
          fmt::format("expected at most {} beams or answers, got {}", options_.max_batch,
                      ticket.rows()));
  require(!ticket.text->picture.bytes.empty(), JobFault::bad_request,
          "expected a picture: this model answers about one picture");
  ticket.tokens = models_.writing()->tokens_of(ticket.text->prompt);
  fit_answer(ticket);
  prepare_picture(ticket, ticket.text->picture);
}

void Preparation::prepare_items(Ticket& ticket, const std::vector<std::string>& texts) const {
  require(models_.retrieving().has_value(), JobFault::bad_request,
          "the model has no stage-1 heads: it gives neither vectors nor scores");
  std::vector<JobPicture>& pictures =
      ticket.embedding ? ticket.embedding->pictures : ticket.score->pictures;
  const auto most = static_cast<std::size_t>(options_.max_items);
  require(texts.size() <= most && pictures.size() <= most, JobFault::bad_request,
          fmt::format("expected at most {} pictures and {} texts, got {} and {}", most, most,
                      pictures.size(), texts.size()));
  const auto pairs = static_cast<std::int64_t>(texts.size() * pictures.size());
  require(!ticket.score || pairs <= options_.max_pairs, JobFault::bad_request,
          fmt::format("expected at most {} pairs of pictures and texts, got {}", options_.max_pairs,
                      pairs));
  for (std::size_t begin = 0; begin < texts.size(); begin += kTextsAtOnce) {
    const auto some = std::span(texts).subspan(begin, std::min(kTextsAtOnce, texts.size() - begin));
    ticket.texts.push_back(models_.retrieving()->tokenize(some));
  }
  for (JobPicture& picture : pictures) {
    if (ticket.dead(EngineClock::now())) return;
    prepare_picture(ticket, picture);
  }
}

void Preparation::prepare(Ticket& ticket) const {
  if (ticket.dead(EngineClock::now())) return;
  try {
    if (ticket.text) return prepare_text(ticket);
    prepare_items(ticket, ticket.embedding ? ticket.embedding->texts : ticket.score->texts);
  } catch (const Refusal& refusal) {
    ticket.failure = {refusal.fault, refusal.message};
  } catch (const std::exception& error) {
    ticket.failure = {JobFault::failed, error.what()};
  }
}

}  // namespace blip2
