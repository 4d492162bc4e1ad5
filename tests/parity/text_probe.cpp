// tokenize encode|decode MODEL FILE [special [plain]]: one JSON value a line in FILE, one a line
// out. encode: a string, or a list of bytes, to its ids; decode: a list of ids to its text.
// `special` adds special tokens, or keeps them; `plain` reads those written out as text. tokenize
// save MODEL FOLDER [TOKEN...]: adds the tokens and saves the tokenizer. tokenize template MODEL:
// the chat template of the tokenizer, as an object.
#include <fstream>
#include <iostream>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/io/json.h"
#include "blip2/text/tokenizer.h"

namespace {

using nlohmann::json;

std::string text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  std::string text;
  for (const json& byte : value) text += static_cast<char>(byte.get<int>());
  return text;
}

void convert(const std::vector<std::string>& args, bool encode) {
  const auto tokenizer = blip2::load_tokenizer(args[1]);
  const bool special = args.size() > 3;
  std::ifstream file(args[2]);
  for (std::string line; std::getline(file, line);) {
    const json value = blip2::parse_json(line, args[2]);
    if (encode) {
      const blip2::PlainText plain =
          args.size() > 4 ? blip2::PlainText(blip2::kWholeText) : blip2::PlainText();
      std::cout << json(tokenizer->encode(text_of(value), special, plain)).dump() << '\n';
    } else {
      std::cout << json(tokenizer->decode(value.get<std::vector<std::int32_t>>(), !special)).dump()
                << '\n';
    }
  }
}

void save(const std::vector<std::string>& args) {
  const auto tokenizer = blip2::load_tokenizer(args[1]);
  for (std::size_t i = 3; i < args.size(); ++i) {
    std::cout << tokenizer->add_token(args[i]) << '\n';
  }
  tokenizer->save(args[2]);
}

void show_template(const std::string& model) {
  const blip2::ChatTemplateSource chat = blip2::load_tokenizer(model)->chat_template();
  std::cout << json{{"text", chat.text}, {"where", chat.where}, {"tokens", chat.tokens}}.dump()
            << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    if (args.at(0) == "template") {
      show_template(args[1]);
    } else if (args[0] == "save") {
      save(args);
    } else {
      convert(args, args[0] == "encode");
    }
    return 0;
  } catch (const blip2::Error& error) {
    blip2::log_line(error.what());
    return 1;
  }
}
