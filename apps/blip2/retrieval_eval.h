#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

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
  double weight = 1;  // matching learns late: less of it serves a model of a short training
};

// Recalls of a data file's captions among its pictures and the other way round: by contrast alone
// under "itc_only", and with the best `rerank` candidates re-ranked by contrast and matching. The
// processes share pictures, texts and pairs, each keeping the features of its own pictures alone;
// rank 0 has the result, the others nothing.
nlohmann::ordered_json evaluate_retrieval(const RetrievalModel& model, const RecordFile& file,
                                          std::int64_t rerank, const Fusion& fusion,
                                          const Ranks* ranks);

}  // namespace blip2
