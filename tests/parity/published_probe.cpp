// Runs whole models on many pictures and prompts in one process, for test_published.py: each line
// of standard input is a JSON job, each line of standard output its answer.
#include <torch/torch.h>

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "blip2/base/error.h"
#include "blip2/io/fields.h"
#include "blip2/model/generation_model.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/qformer/stage1_heads.h"

using namespace blip2;
using nlohmann::json;

namespace {

std::vector<float> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

// {"images", "prompts", "options"} -> [{"logits", "answers": [{"tokens", "score", "text"}]}]
json generate_texts(const GenerationModel& model, const json& job) {
  const auto images = job.at("images").get<std::vector<std::string>>();
  const auto texts = job.at("prompts").get<std::vector<std::string>>();
  const std::vector<Prompt> prompts(texts.begin(), texts.end());
  GenerationOptions options;
  read_fields(options, job.at("options"), "options");
  const auto pictures = model.project_images(images);
  const at::Tensor logits = model.first_logits(pictures, prompts);
  json rows = json::array();
  const auto answers = model.generate(pictures, prompts, options);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    json list = json::array();
    for (const GeneratedText& a : answers[i]) {
      list.push_back({{"tokens", a.tokens}, {"score", a.score}, {"text", a.text}});
    }
    rows.push_back({{"logits", values_of(logits[static_cast<std::int64_t>(i)])},
                    {"answers", std::move(list)}});
  }
  return rows;
}

// {"images", "texts"} -> {"itc": [images x texts], "itm": …, "image_embeds", "text_embeds"}
json match_texts(const RetrievalModel& model, const json& job) {
  const auto images = job.at("images").get<std::vector<std::string>>();
  const auto words = job.at("texts").get<std::vector<std::string>>();
  const TextRows texts = model.tokenize(words);
  const ImageKeysValues seen = model.project_images(model.images().encode(images));
  const at::Tensor image_embeds = model.embed_images(seen), text_embeds = model.embed_texts(texts);
  Pairs pairs;
  for (std::size_t i = 0; i < images.size() * words.size(); ++i) {
    pairs.images.push_back(static_cast<std::int64_t>(i / words.size()));
    pairs.texts.push_back(static_cast<std::int64_t>(i % words.size()));
  }
  return {{"itc", values_of(best_cosine(image_embeds, text_embeds))},
          {"itm", values_of(model.match(seen, texts, pairs))},
          {"image_embeds", values_of(image_embeds)},
          {"text_embeds", values_of(text_embeds)}};
}

}  // namespace

int main() {
  try {
    const at::InferenceMode inference;
    std::string loaded;
    std::unique_ptr<GenerationModel> speaker;
    std::unique_ptr<RetrievalModel> matcher;
    for (std::string line; std::getline(std::cin, line);) {
      const json job = json::parse(line);
      const std::string path = job.at("model"), precision = job.value("precision", "auto");
      const bool matches = job.contains("texts");
      if (const std::string key = path + " " + precision; key != loaded) {
        speaker.reset();
        matcher.reset();
        if (matches) {
          matcher = std::make_unique<RetrievalModel>(path, precision);
        } else {
          speaker = std::make_unique<GenerationModel>(path, precision);
        }
        loaded = key;
      }
      json answer = json::object();  // of a job that only loads a model
      if (job.contains("images")) {
        answer = matches ? match_texts(*matcher, job) : generate_texts(*speaker, job);
      }
      std::cout << answer.dump() << std::endl;
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
