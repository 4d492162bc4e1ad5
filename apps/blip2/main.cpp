// The program `blip2`. It runs the verbs that need no LibTorch itself, as loading LibTorch takes
// longer than they do, and becomes blip2-torch for all other verbs and for options that need
// LibTorch.

#include <array>
#include <string_view>

#include "apps/blip2/program.h"
#include "apps/blip2/torch_program.h"
#include "apps/blip2/verbs.h"

namespace {

constexpr std::array<std::string_view, 4> kOwnNames{"duplicates", "inspect", "preprocess", "score"};
constexpr std::array<blip2::AddVerb, 4> kOwnVerbs{blip2::add_duplicates, blip2::add_inspect,
                                                  blip2::add_preprocess, blip2::add_score};

std::string describe(const std::exception& failure) {
  return failure.what();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  for (const std::string_view own : kOwnNames) {
    if (verb != own) continue;
    try {
      return blip2::run_program(argc, argv, kOwnVerbs, describe);
    } catch (const blip2::NeedsTorch&) {
      break;
    }
  }
  return blip2::become_torch_program(argv);
}
