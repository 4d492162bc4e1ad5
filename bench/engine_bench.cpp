// engine_bench MODEL PICTURE...: how the engine's jobs compare with the same jobs one after the
// other and with generate_in_batches. A fifth of the pictures are asked about one after the other,
// the rest by 32 clients; each is new to the engine. Prints one JSON object.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <future>
#include <numeric>
#include <thread>

#include "blip2/base/file.h"
#include "blip2/model/batched_generation.h"
#include "blip2/serving/engine.h"

namespace blip2 {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

GenerationOptions twenty_tokens() {
  GenerationOptions options;
  options.max_new_tokens = options.min_new_tokens = 20;
  return options;
}

struct Timed {
  std::string text;
  double first = 0;  // seconds to the first token
};

// Asks about a picture and waits.
Timed ask(Engine& engine, const std::string& path, const std::string& prompt) {
  const auto job = std::make_shared<TextJob>();
  job->picture.bytes = read_file(path);
  job->prompt = prompt;
  job->options = twenty_tokens();
  job->options.log_probabilities = true;  // a piece for every token
  Timed timed;
  std::promise<void> done;
  const auto begin = Clock::now();
  job->on_text = [&](const TextPiece&) {
    if (timed.first == 0) timed.first = seconds_since(begin);
  };
  job->on_done = [&](TextResult result) {
    timed.text = result.texts.at(0).text;
    done.set_value();
  };
  job->on_error = [&](const JobError& error) {
    timed.text = error.message;
    done.set_value();
  };
  if (engine.submit(job)) done.get_future().wait();
  return timed;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Of all threads: what is left to compare on a machine that others use too.
double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

struct Load {
  double seconds = 0, first = 0;  // in all; the median to the first token
  double processor = 0;           // seconds
  std::vector<std::string> texts;
};

// A client for each of `clients` threads; each asks about its share of the pictures in turn.
Load load(Engine& engine, const std::vector<std::string>& paths, std::size_t clients) {
  const std::string prompt = engine.facts().caption_prompt;
  std::vector<Timed> timed(paths.size());
  const auto begin = Clock::now();
  const double processor = processor_seconds();
  std::vector<std::jthread> threads;
  for (std::size_t c = 0; c < clients; ++c) {
    threads.emplace_back([&, c] {
      for (std::size_t i = c; i < paths.size(); i += clients)
        timed[i] = ask(engine, paths[i], prompt);
    });
  }
  threads.clear();
  Load result{seconds_since(begin), 0, processor_seconds() - processor, {}};
  std::vector<double> firsts;
  for (const Timed& one : timed) {
    firsts.push_back(one.first);
    result.texts.push_back(one.text);
  }
  result.first = median(firsts);
  return result;
}

Load batched(const std::string& folder, const std::vector<std::string>& paths) {
  const GenerationModel model(folder);
  std::vector<PromptedImage> questions;
  for (const std::string& path : paths) questions.push_back({path, model.config().caption_prompt});
  Load result;
  const auto run = [&] {
    result.texts.clear();
    generate_in_batches(
        model, questions, twenty_tokens(), 32,
        [&](std::size_t, const auto& texts) { result.texts.push_back(texts.at(0).text); },
        [&](std::size_t, const std::string& what) { result.texts.push_back(what); });
  };
  run();  // reads the weights into memory
  const auto begin = Clock::now();
  const double processor = processor_seconds();
  run();
  result.seconds = seconds_since(begin);
  result.processor = processor_seconds() - processor;
  return result;
}

void bench(const std::string& folder, const std::vector<std::string>& paths) {
  const auto fifth = static_cast<std::ptrdiff_t>(paths.size() / 5);
  const std::vector<std::string> alone(paths.begin(), paths.begin() + fifth),
      together(paths.begin() + fifth, paths.end());
  const auto run = [&](const auto& some, std::size_t clients) {
    Engine engine(folder, {});
    ask(engine, some[0], engine.facts().caption_prompt);
    Load result = load(engine, some, clients);
    const EngineCounts counts = engine.counts();
    fmt::print(stderr,
               "{} clients: {:.3f} s; encode {:.3f}, prompts {:.3f}, writing {:.3f} in {} steps\n",
               clients, result.seconds, counts.encode_seconds, counts.prompt_seconds,
               counts.write_seconds, counts.steps);
    return result;
  };
  const Load one = run(alone, 1), many = run(together, 32), batch = batched(folder, together);
  const double each = one.seconds / static_cast<double>(fifth),
               served = many.seconds / static_cast<double>(together.size()),
               written = batch.seconds / static_cast<double>(together.size());
  fmt::print(
      "{{\"alone_seconds\": {:.4f}, \"engine_seconds\": {:.4f}, \"batch_seconds\": {:.4f}, "
      "\"speedup\": {:.2f}, \"share_of_batch\": {:.3f}, \"first_alone\": {:.4f}, "
      "\"first_loaded\": {:.4f}, \"processor_seconds\": [{:.3f}, {:.3f}, {:.3f}], "
      "\"equal\": {}}}\n",
      each, served, written, each / served, written / served, one.first, many.first,
      one.processor / static_cast<double>(fifth),
      many.processor / static_cast<double>(together.size()),
      batch.processor / static_cast<double>(together.size()), many.texts == batch.texts);
}

}  // namespace
}  // namespace blip2

int main(int argc, char** argv) {
  if (argc < 42) {
    fmt::print(stderr, "usage: engine_bench MODEL PICTURE... (40 at least)\n");
    return 2;
  }
  blip2::bench(argv[1], {argv + 2, argv + argc});
}
