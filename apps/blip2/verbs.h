#pragma once

#include <CLI/CLI.hpp>

namespace blip2 {

// Each function adds one verb to the program; the verb's callback does the work and throws Error on
// failure.
void add_caption(CLI::App& app);
void add_capfilt(CLI::App& app);
void add_vqa(CLI::App& app);
void add_chat(CLI::App& app);
void add_match(CLI::App& app);
void add_label(CLI::App& app);
void add_embed(CLI::App& app);
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_preprocess(CLI::App& app);
void add_convert(CLI::App& app);
void add_inspect(CLI::App& app);
void add_score(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace blip2
