#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/processor.h"
#include "blip2/costs/fastest.h"
#include "blip2/costs/model_speed.h"
#include "blip2/nn/kernels/kernels.h"

namespace blip2 {
namespace {

struct BenchOptions {
  RunOptions run;
  SpeedTest test;
};

double resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

void print_text(const nlohmann::ordered_json& figures) {
  const auto number = [&](const char* key) { return figures[key].get<double>(); };
  const auto line = [](const char* name, const std::string& value) {
    print_line(fmt::format("{:<10}{}", name, value));
  };
  line("kernels", fmt::format("{}, {} threads", figures["kernels"].get<std::string>(),
                              figures["threads"].get<int>()));
  line("load", fmt::format("{:.2f} s", number("load_seconds")));
  line("memory", fmt::format("{:.0f} MB at the peak", number("memory_bytes") / 1e6));
  line("pictures", fmt::format("{:.1f}/s", number("pictures_per_second")));
  line("prefill", fmt::format("{:.0f} tokens/s, {:.0f} GFLOPS: {:.0f} % of {:.0f}",
                              number("prefill_tokens_per_second"), number("prefill_flops") / 1e9,
                              100 * number("prefill_share_of_peak"), number("peak_flops") / 1e9));
  line("decode",
       fmt::format("{:.1f} tokens/s, {:.1f} GB/s of weights: {:.0f} % of {:.1f}",
                   number("decode_tokens_per_second"), number("decode_bytes_per_second") / 1e9,
                   100 * number("decode_share_of_bandwidth"),
                   number("memory_bytes_per_second") / 1e9));
  line("beams", fmt::format("{} beams: {:.2f} ms a step, {:.2f} times the {:.2f} ms of one",
                            figures["beams"].get<int>(), 1e3 * number("beam_step_seconds"),
                            number("beam_step_seconds") / number("greedy_step_seconds"),
                            1e3 * number("greedy_step_seconds")));
}

void bench(const BenchOptions& options) {
  apply_threads(options.run.threads);
  std::unique_ptr<GenerationModel> model;
  const double load = fastest(1, [&] {
    model = std::make_unique<GenerationModel>(options.run.model, options.run.precision,
                                              bridge_type(options.run), options.run.pictures);
  });
  const ModelSpeed speed = measure_model(*model, options.test);
  const double memory = resident_bytes();
  const at::ScalarType fastest_type =
      processor().avx512_bf16 ? at::kBFloat16 : model->language().dtype();
  const MachineSpeed machine = measure_machine(fastest_type);
  const nlohmann::ordered_json figures{
      {"kernels", kernels_name()},
      {"threads", at::get_num_threads()},
      {"load_seconds", load},
      {"memory_bytes", memory},
      {"pictures_per_second", speed.pictures_per_second},
      {"prefill_tokens_per_second", speed.prefill_tokens_per_second},
      {"prefill_flops", speed.prefill_flops},
      {"peak_flops", machine.flops},
      {"prefill_share_of_peak", speed.prefill_flops / machine.flops},
      {"decode_tokens_per_second", speed.decode_tokens_per_second},
      {"step_bytes", speed.step_bytes},
      {"decode_bytes_per_second", speed.decode_bytes_per_second},
      {"memory_bytes_per_second", machine.bytes_per_second},
      {"decode_share_of_bandwidth", speed.decode_bytes_per_second / machine.bytes_per_second},
      {"beams", options.test.beams},
      {"greedy_step_seconds", speed.greedy_step_seconds},
      {"beam_step_seconds", speed.beam_step_seconds}};
  if (options.run.json) return print_json(figures);
  print_text(figures);
}

}  // namespace

void add_bench(CLI::App& app) {
  auto* verb = app.add_subcommand("bench", "Measure how fast a model runs on this machine");
  auto options = std::make_shared<BenchOptions>();
  SpeedTest& test = options->test;
  add_run_options(*verb, options->run);
  verb->add_option("--pictures", test.pictures, "Pictures that are encoded at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->add_option("--batch-size", test.rows, "Texts that are written at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->add_option("--prompt-tokens", test.prompt_tokens, "Tokens before each text")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb->add_option("--new-tokens", test.new_tokens, "Tokens of each text")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb->add_option("--beams", test.beams, "Beams of beam search")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  verb->add_option("--repeats", test.repeats,
                   "Runs of each measurement, of which the fastest counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->footer(
      "prefill: the prompt's tokens up to the first logits, and the share of the rate at which\n"
      "this machine multiplies large matrices in bf16, or in the model's type where the processor\n"
      "has no instructions for bf16. decode: tokens after the first,\n"
      "and the bytes of weights read for them as a share of the rate at which this machine reads\n"
      "memory; more than 100 % means that weights lie in the processor's caches. beams: a step of\n"
      "writing one text by beam search, the choice of tokens included, beside one without beams.");
  verb->callback([options] { bench(*options); });
}

}  // namespace blip2
