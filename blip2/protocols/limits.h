#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "blip2/image/image.h"

namespace blip2 {

// Which pictures a request may bring. The numbers are checked from the file's header, before
// anything is decoded.
struct PictureRules {
  bool accepted = true;  // false: the model has no eyes, and a picture is refused with 400
  std::size_t most = 1;  // pictures in a chat or prompt
  std::size_t most_listed =
      64;  // pictures among the inputs of embeddings or documents of a ranking
  std::uint64_t max_bytes = 20u << 20;
  std::int64_t max_pixels = ImageLimits{}.max_pixels;
  std::vector<std::string> hosts;    // from which https URLs are fetched; empty: none are
  std::filesystem::path media_root;  // folder below which file:// URLs are read; empty: none are
};

// What a request may ask for; a request beyond it is refused with 400 (413 for the body's size).
struct RequestLimits {
  std::uint64_t max_body = 64u << 20;  // bytes
  std::size_t json_depth = 32;
  std::size_t json_values = 200'000;
  std::size_t max_turns = 256;        // messages of a chat
  std::uint64_t max_text = 1u << 20;  // bytes of all texts of a request together
  std::size_t max_items = 2048;       // inputs of embeddings, documents of a ranking
  std::int64_t max_tokens = 2048;     // new tokens of an answer
  std::int64_t max_answers = 16;      // n
  std::int64_t max_beams = 16;
  std::int64_t max_top_logprobs = 20;
  std::size_t max_stops = 4;
  std::size_t max_stop_bytes = 256;  // of each stop string
  // Names of models that are answered for (404 for others); empty: every name is. A request that
  // names none gets the first. Ollama's ":latest" may be left out or added.
  std::vector<std::string> models;
  PictureRules pictures;
};

}  // namespace blip2
