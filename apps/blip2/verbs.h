#pragma once

#include <CLI/CLI.hpp>

#include "apps/blip2/clip_scores.h"

namespace blip2 {

// Each adds one verb to the program; its callback does the work and throws Error on failure.
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
void add_score(CLI::App& app);  // without LibTorch: throws NeedsTorch where --clip is given
void add_score_with_clip(CLI::App& app);  // with it

// Both of them: `open` opens the directory of --clip.
void add_score_verb(CLI::App& app, OpenClip open);

}  // namespace blip2
