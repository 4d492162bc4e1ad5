#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/model_flag.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/model/directory.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {
namespace {

struct TokenizeOptions {
  std::string model, which = "llm", file;
  std::vector<std::string> texts;
  bool no_special = false, plain = false, json = false;
};

std::unique_ptr<Tokenizer> open(const TokenizeOptions& options) {
  const std::filesystem::path path = options.model;
  if (!std::filesystem::is_directory(path)) return load_tokenizer(path);
  return options.which == "llm" ? load_tokenizer(path)
                                : load_tokenizer(qformer_tokenizer_folder(path));
}

void tokenize(const TokenizeOptions& options) {
  std::vector<std::string> texts = options.texts;
  if (!options.file.empty()) {
    for (std::string& line : read_lines(options.file)) texts.push_back(std::move(line));
  }
  if (texts.empty() && options.file.empty()) {
    throw CLI::ValidationError("tokenize", "expected --text or --file");
  }
  const auto tokenizer = open(options);
  for (const std::string& text : texts) {
    const PlainText plain = options.plain ? PlainText(kWholeText) : PlainText();
    const auto ids = tokenizer->encode(text, !options.no_special, plain);
    std::vector<std::string> pieces;
    for (const auto id : ids) pieces.push_back(tokenizer->piece(id));
    if (options.json) {
      print_json({{"ids", ids}, {"pieces", pieces}});
      continue;
    }
    std::string line;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      line += fmt::format("{}{}:{}", i ? " " : "", ids[i], pieces[i]);
    }
    print_line(line);
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto* verb = app.add_subcommand("tokenize", "Show the token ids and pieces of texts");
  auto options = std::make_shared<TokenizeOptions>();
  add_model(*verb, "--model", options->model, "Model directory, or a tokenizer's file")->required();
  verb->add_option("--which", options->which, "The language model's tokenizer or the Q-Former's")
      ->check(CLI::IsMember({"llm", "qformer"}))
      ->capture_default_str();
  verb->add_option("--text", options->texts, "A text (may be repeated)");
  verb->add_option("--file", options->file, "File with one text in each line");
  verb->add_flag("--no-special", options->no_special,
                 "Leave out the tokens that the tokenizer puts around a text");
  verb->add_flag("--plain", options->plain,
                 "Special tokens written out are plain text, as in the other verbs");
  add_json_flag(*verb, options->json);
  verb->callback([options] { tokenize(*options); });
}

}  // namespace blip2
