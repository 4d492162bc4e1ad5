// blip2-torch: the program with all its verbs, which main.cpp starts for those that need LibTorch.

#include <c10/util/Exception.h>

#include <array>

#include "apps/blip2/program.h"
#include "apps/blip2/verbs.h"
#include "blip2/answers/clip_scorer.h"
#include "blip2/base/allocation.h"

namespace {

// `score` with LibTorch, which can open the directory of --clip.
void add_score_with_clip(CLI::App& app) {
  blip2::add_score_verb(app, blip2::open_clip);
}

constexpr std::array<blip2::AddVerb, 21> kVerbs{
    blip2::add_caption, blip2::add_capfilt,  blip2::add_vqa,        blip2::add_chat,
    blip2::add_match,   blip2::add_label,    blip2::add_embed,      blip2::add_train,
    blip2::add_eval,    blip2::add_tokenize, blip2::add_preprocess, blip2::add_convert,
    blip2::add_inspect, add_score_with_clip, blip2::add_bench,      blip2::add_serve,
    blip2::add_index,   blip2::add_search,   blip2::add_duplicates, blip2::add_completion,
    blip2::add_manual};

std::string describe(const std::exception& failure) {
  const auto* torch = dynamic_cast<const c10::Error*>(&failure);
  return torch != nullptr ? torch->what_without_backtrace() : failure.what();
}

}  // namespace

int main(int argc, char** argv) {
  blip2::give_back_library("libtorch");  // 45 MB that registering its operators has read
  return blip2::run_program(argc, argv, kVerbs, describe);
}
