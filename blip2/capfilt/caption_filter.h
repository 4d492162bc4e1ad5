#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/decoding/options.h"
#include "blip2/model/generation_model.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/retrieval/caption_ranking.h"

namespace blip2 {

struct CaptionFilterOptions {
  // Model directories: `captioner` writes captions, `matcher` ranks them. They may be the same.
  std::filesystem::path captioner, matcher;
  std::string precision = "auto";      // of the frozen parts of both models
  at::ScalarType bridge = at::kFloat;  // type in which both Q-Formers compute
  PictureChoices pictures;             // for both models
  // The captioner writes generation.return_sequences captions for each picture; samples of each
  // picture have a seed of their own. Without `generate` only the pictures' original captions are
  // ranked, and the captioner is not opened.
  bool generate = true;
  GenerationOptions generation;
  std::optional<std::string> prompt;  // plain text; nullopt: the captioner's own prompt
  CaptionRank rank = CaptionRank::itc;
  std::size_t keep = 2;  // best captions to keep of each picture; 0: all
  double min_score = -std::numeric_limits<double>::infinity();
};

struct CaptionedPicture {
  std::string image;  // path or place in a tar shard
  std::vector<std::string> captions;
};

struct FilteredPicture {
  std::string fault;       // why the picture cannot be read; then nothing else is set
  std::string file;        // the bytes of the picture's file
  std::uint64_t seed = 0;  // of the picture's samples, as `caption --seed` takes it
  std::size_t generated = 0, distinct = 0;  // captions written, captions ranked
  std::vector<RankedCaption> captions;      // the captions kept, best first
};

// Captioning and filtering (arXiv 2301.12597, section 4.1): writes captions for pictures and keeps
// the best of these and of the pictures' original captions. A picture's result depends on its file,
// its captions and the options alone: not on the pictures beside it, nor on the number of threads.
class CaptionFilter {
 public:
  // Error if a model cannot be opened, the captioner has no language model, or the matcher has no
  // stage-1 heads.
  explicit CaptionFilter(const CaptionFilterOptions& options);

  // The pictures are encoded once if both models have the same image encoder.
  std::vector<FilteredPicture> filter(std::span<const CaptionedPicture> pictures) const;
  bool encodes_once() const { return shared_; }

 private:
  struct EncodedPictures;
  EncodedPictures read(std::span<const CaptionedPicture> pictures) const;
  std::vector<std::vector<std::string>> write(const ImageFeatures& features,
                                              std::vector<std::uint64_t> seeds) const;
  void score(const ImageFeatures& features, std::vector<RankedCaption>& captions) const;

  CaptionFilterOptions options_;
  std::optional<GenerationModel> captioner_;
  RetrievalModel matcher_;
  bool shared_ = false;
};

}  // namespace blip2
