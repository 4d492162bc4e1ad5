#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "blip2/data/records.h"
#include "blip2/retrieval/ranking.h"

namespace blip2 {

class Ranks;
class RetrievalModel;

// How contrast and matching make one score.
struct Fusion {
  enum Kind {
    probability,  // cosine / temperature + weight * log of the matching probability, in nats
    lavis         // cosine + weight * matching logit, as LAVIS adds them
  } kind = probability;
  double weight =
      1;  // weight of matching; lower it for a model of a short training, as matching learns late
};

// How a caption counts that several pictures have.
enum class SharedCaptions {
  own,  // as one query for each picture, for which only that picture is right: LAVIS's protocol
  any   // as one query, for which each of the pictures is right
};

struct RetrievalOptions {
  std::int64_t rerank = 128;  // candidates that matching re-ranks
  Fusion fusion;
  SharedCaptions shared = SharedCaptions::own;
  std::int64_t folds = 1;  // number of parts of the pictures that are measured separately too
};

// Recalls with the best candidates re-ranked by contrast and matching, and by contrast alone.
struct RetrievalRecalls {
  RetrievalScores reranked, by_contrast;
};
struct RetrievalResult {
  RetrievalRecalls recalls;
  std::optional<RetrievalRecalls> in_folds;       // the means over several folds
  std::int64_t images = 0, texts = 0;             // that are measured
  std::map<std::string, std::string> unreadable;  // pictures that are left out, and why
};

// Recalls of a data file's captions among its pictures and the other way round. A picture that
// cannot be read is left out, and so are captions that no other has. The processes share pictures,
// texts and pairs, each keeping the features of its own pictures alone; rank 0 has the result, the
// others nothing. Error for a question, and for more folds than pictures; Interrupted after a
// signal. Runs on the caller's thread and those of LibTorch.
RetrievalResult evaluate_retrieval(const RetrievalModel& model, const RecordFile& file,
                                   const RetrievalOptions& options, const Ranks* ranks);

}  // namespace blip2
