#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/processor.h"
#include "blip2/costs/fastest.h"
#include "blip2/costs/model_speed.h"
#include "blip2/io/utf8.h"
#include "blip2/language/perplexity.h"
#include "blip2/model/directory.h"
#include "blip2/nn/kernels/kernels.h"

namespace blip2 {
namespace {

struct BenchOptions {
  RunOptions run;
  SpeedTest test;
  std::string text;
  std::int64_t window = 512;
};

double resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

void print_named(const char* name, const std::string& value) {
  print_line(fmt::format("{:<12}{}", name, value));
}

void print_speed(const nlohmann::ordered_json& figures) {
  const auto number = [&](const char* key) { return figures[key].get<double>(); };
  const auto line = print_named;
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

void print_text(const nlohmann::ordered_json& figures) {
  const auto number = [&](const char* key) { return figures[key].get<double>(); };
  print_named("kernels", fmt::format("{}, {} threads", figures["kernels"].get<std::string>(),
                                     figures["threads"].get<int>()));
  print_named("load", fmt::format("{:.2f} s", number("load_seconds")));
  print_named("memory", fmt::format("{:.0f} MB at the peak", number("memory_bytes") / 1e6));
  if (!figures.contains("perplexity")) return print_speed(figures);
  print_named("text", fmt::format("{} tokens, {} of them predicted",
                                  figures["text_tokens"].get<std::int64_t>(),
                                  figures["predicted_tokens"].get<std::int64_t>()));
  print_named("perplexity", fmt::format("{:.4f}", number("perplexity")));
}

// How well the model's decoder predicts a text.
nlohmann::ordered_json text_figures(const GenerationModel& model, const BenchOptions& options) {
  if (std::holds_alternative<T5Config>(*model.config().language)) {
    throw Error("expected a decoder-only language model, got an encoder-decoder", options.run.model,
                "--text is for the others");
  }
  const std::string text = read_file(options.text);
  const auto ids =
      model.tokenizer().encode(without_byte_order_mark(text, options.text), false, kWholeText);
  check_ids(ids, vocabulary_of(*model.config().language));
  const std::vector<std::int32_t> begin = model.tokenizer().encode("", true);
  const TextLoss loss =
      text_loss(model.language(), ids, {options.window, options.test.rows, begin});
  return {{"memory_bytes", resident_bytes()},
          {"text_tokens", ids.size()},
          {"window", options.window},
          {"predicted_tokens", loss.predicted},
          {"nats", loss.nats},
          {"perplexity", loss.perplexity()}};
}

nlohmann::ordered_json speed_figures(const GenerationModel& model, const SpeedTest& test) {
  const ModelSpeed speed = measure_model(model, test);
  const double memory = resident_bytes();
  const at::ScalarType fastest_type =
      processor().avx512_bf16 ? at::kBFloat16 : model.language().dtype();
  const MachineSpeed machine = measure_machine(fastest_type);
  return {{"memory_bytes", memory},
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
          {"beams", test.beams},
          {"greedy_step_seconds", speed.greedy_step_seconds},
          {"beam_step_seconds", speed.beam_step_seconds}};
}

void bench(const BenchOptions& options) {
  apply_threads(options.run.threads);
  std::unique_ptr<GenerationModel> model;
  const double load = fastest(1, [&] {
    model = std::make_unique<GenerationModel>(options.run.model, options.run.precision,
                                              bridge_type(options.run), options.run.pictures);
  });
  nlohmann::ordered_json figures{
      {"kernels", kernels_name()}, {"threads", at::get_num_threads()}, {"load_seconds", load}};
  figures.update(options.text.empty() ? speed_figures(*model, options.test)
                                      : text_figures(*model, options));
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
  verb->add_option("--text", options->text,
                   "UTF-8 file: measure the perplexity of the language model on it in place of "
                   "speed, as it writes texts (in blocks of eight bits where it does)")
      ->check(CLI::ExistingFile);
  verb->add_option("--window", options->window,
                   "Tokens of the windows into which --text is cut; the first of each is not "
                   "predicted, and a tokenizer that begins texts with a token begins them with it")
      ->needs("--text")
      ->check(CLI::Range(2, 1000000))
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
