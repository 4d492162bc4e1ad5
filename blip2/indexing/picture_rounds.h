#pragma once

#include <torch/torch.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "blip2/base/content_hash.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/processes/ranks.h"
#include "blip2/search/picture_facts.h"

namespace blip2 {

// What is known of a file once it has been read.
struct ReadPicture {
  FileFacts file;     // `picture` is not set; with a problem it is a bad one
  bool gone = false;  // it is not there any more
  ContentHash content;
  std::optional<PictureFacts> facts;  // of a content that was wanted and could be decoded
  at::Tensor vectors;                 // its unit vectors [Q, E] f32; undefined without facts
};

// What the main process decides while files are read; the other processes do not call these.
struct PictureRoundCalls {
  // Whether a content has to be encoded; asked once for every file that could be read, in order.
  std::function<bool(const ContentHash&)> wants;
  // Takes the files of a round, in order.
  std::function<void(std::vector<ReadPicture>)> take;
};

// Reads files, and decodes and encodes those whose content is wanted. All processes call it
// together and share the work, a round of some files after another; `paths` count at the main
// process alone. While a round is encoded, the next one is read and decoded on other threads, each
// file once. `model` is asked for the model when the first picture has to be decoded. Shows
// progress, if there is much to read. Throws Interrupted after a signal, between rounds.
void read_in_rounds(const Ranks* ranks, const std::vector<std::string>& paths,
                    const std::function<const RetrievalModel&()>& model,
                    const PictureRoundCalls& calls);

// The texts of the main process, at all of them; waits for it.
std::vector<std::string> share_texts(const Ranks* ranks, const std::vector<std::string>& texts);

}  // namespace blip2
