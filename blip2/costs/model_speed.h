#pragma once

#include <cstdint>

#include "blip2/costs/machine_speed.h"
#include "blip2/model/generation_model.h"

namespace blip2 {

// What is measured of a model.
struct SpeedTest {
  std::int64_t pictures = 4;         // a batch that goes through the image encoder and Q-Former
  std::int64_t rows = 1;             // texts that are written side by side
  std::int64_t prompt_tokens = 128;  // of each text, soft prompts included
  std::int64_t new_tokens = 32;      // of each text
  std::int64_t beams = 5;            // of one text
  int repeats = 3;                   // the fastest run counts
};

struct ModelSpeed {
  double pictures_per_second = 0;  // image encoder and Q-Former's keys and values, without decoding
  double prefill_tokens_per_second = 0;  // of all rows, up to the first token's logits
  double prefill_flops = 0;              // a second, by language_cost()
  double decode_tokens_per_second = 0;   // of all rows, after the first
  double step_bytes = 0;                 // of weights that a step of decoding reads
  double decode_bytes_per_second = 0;    // of weights, whatever the number of rows
  // A step of writing one text, the choice of tokens included: the best token, and beam search.
  double greedy_step_seconds = 0, beam_step_seconds = 0;
};

// Times the model's parts on pixels and embeddings of its own making: the figures do not depend on
// what a picture shows. Error if the texts are longer than the language model's positions.
ModelSpeed measure_model(const GenerationModel& model, const SpeedTest& test);

}  // namespace blip2
