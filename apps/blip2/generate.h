#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/options.h"
#include "apps/blip2/result_file.h"
#include "blip2/model/batched_generation.h"

namespace blip2 {

GenerationModel open_generation_model(const RunOptions& options);

// Options of the verbs that write texts about many pictures.
struct WritingOptions {
  RunOptions run;
  ImageInputs inputs;
  GenerationOptions generation;
  std::string results;  // file as a benchmark's server takes it; empty: none
  bool special_tokens = false, chat = false;
  std::int64_t batch_size = 8;
};
// `items`: what is taken at a time.
void add_writing_options(CLI::App& verb, WritingOptions& options, const std::string& items);

// A picture and what is asked of it; what is not there is empty.
struct AskedPicture {
  std::string image, question = {}, image_id = {}, question_id = {};
  std::string failure = {};  // why it cannot be answered
};
// What the JSON objects of its results begin with.
nlohmann::ordered_json object_of(const AskedPicture& asked);

// The name of a picture, or of the question about it, in the file of results.
const std::string& id_of(const AskedPicture& asked);
// Error if the file would lack the name of something that can be answered.
void expect_all(ResultFile& results, const std::vector<AskedPicture>& asked);

// Writes texts about all pictures and prints them in order: a row of picture, question and text, or
// an object with the text under `key`; then writes `results`. Error in the end as BadItems has it.
void print_texts(const WritingOptions& options, const std::vector<AskedPicture>& asked,
                 ResultFile results, const char* key,
                 const std::function<Prompt(const AskedPicture&, const Blip2Config&)>& prompt_of);

}  // namespace blip2
