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
  // Which captions are written; `matcher` ranks them and may be the captioner's directory.
  std::filesystem::path captioner, matcher;
  std::string precision = "auto";      // of the frozen parts of both
  at::ScalarType bridge = at::kFloat;  // in which both Q-Formers compute
  PictureChoices pictures;             // of both
  // generation.return_sequences captions a picture; each picture's samples have a seed of their
  // own. Not `generate`: the originals alone are ranked, and the captioner is not opened.
  bool generate = true;
  GenerationOptions generation;
  std::optional<std::string> prompt;  // plain text; nothing: the captioner's own
  CaptionRank rank = CaptionRank::itc;
  std::size_t keep = 2;  // 0: all
  double min_score = -std::numeric_limits<double>::infinity();
};

struct CaptionedPicture {
  std::string image;  // path or place in a tar shard
  std::vector<std::string> captions;
};

struct FilteredPicture {
  std::string fault;       // why the picture cannot be read; then nothing else is set
  std::string file;        // its bytes
  std::uint64_t seed = 0;  // of its samples: what `caption --seed` takes
  std::size_t generated = 0, distinct = 0;  // captions written; those that were ranked
  std::vector<RankedCaption> captions;      // kept, best first
};

// Captioning and filtering (arXiv 2301.12597, section 4.1): writes captions for pictures and keeps
// those, of them and of the pictures' own, that fit best. A picture's result depends on its file,
// its captions and the options alone: not on the pictures beside it, nor on the number of threads.
class CaptionFilter {
 public:
  // Error if a model cannot be opened or lacks its part: a language model or stage-1 heads.
  explicit CaptionFilter(const CaptionFilterOptions& options);

  // The pictures are encoded once if both models have the same image encoder.
  std::vector<FilteredPicture> filter(std::span<const CaptionedPicture> pictures) const;
  bool encodes_once() const { return shared_; }

 private:
  struct Looked;
  Looked read(std::span<const CaptionedPicture> pictures) const;
  std::vector<std::vector<std::string>> write(const at::Tensor& features,
                                              std::vector<std::uint64_t> seeds) const;
  void score(const at::Tensor& features, std::vector<RankedCaption>& captions) const;

  CaptionFilterOptions options_;
  std::optional<GenerationModel> captioner_;
  RetrievalModel matcher_;
  bool shared_ = false;
};

}  // namespace blip2
