#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "blip2/evaluation/clip_score.h"

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
void add_bench(CLI::App& app);
void add_search(CLI::App& app);
void add_serve(CLI::App& app);
void add_index(CLI::App& app);
void add_duplicates(CLI::App& app);
void add_completion(CLI::App& app);
void add_manual(CLI::App& app);

// Thrown by a verb of the program without LibTorch if its options need LibTorch: main.cpp then
// becomes the program that has it. The verb prints and writes nothing before.
struct NeedsTorch {};

// Opens the CLIP of a directory.
using OpenClip = ScoreByClip (*)(const std::string& folder);

// `score`: `open` opens the directory of --clip.
void add_score_verb(CLI::App& app, OpenClip open);
// `score` without LibTorch: throws NeedsTorch if --clip is given.
void add_score(CLI::App& app);

}  // namespace blip2
