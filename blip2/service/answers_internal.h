#pragma once

#include "blip2/protocols/completion.h"
#include "blip2/protocols/request_error.h"
#include "blip2/serving/job.h"

// The engine's results in the protocols' terms. The functions are pure.
namespace blip2 {

// What the client is told; the message of a fault inside the program is not for it.
RequestError error_of(const JobError& error);
CompletionPiece piece_of(const TextPiece& piece);
CompletionResult result_of(const TextResult& result);

}  // namespace blip2
