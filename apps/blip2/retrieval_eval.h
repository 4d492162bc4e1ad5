#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/data/records.h"

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

struct RetrievalResult {
  nlohmann::ordered_json scores;
  std::map<std::string, std::string> unreadable;  // pictures that are left out, with the reasons
};

// The recalls of a data file's captions among its pictures and the other way round: by contrast
// alone under "itc_only", and with the best candidates re-ranked by contrast and matching; with
// several folds also their means under "in_folds". Unreadable pictures are left out, and so are
// captions that only they have. The processes share pictures, texts and pairs, and each keeps only
// the features of its own pictures; rank 0 has the result, other ranks have none.
RetrievalResult evaluate_retrieval(const RetrievalModel& model, const RecordFile& file,
                                   const RetrievalOptions& options, const Ranks* ranks);

}  // namespace blip2
