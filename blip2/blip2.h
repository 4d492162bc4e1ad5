#pragma once

// All of the library that is meant for users of an installed copy (docs/library.md); link
// blip2::blip2. A program that needs one part alone includes that part's header and links its room,
// as blip2/text/tokenizer.h and blip2::text.

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/data/records.h"
#include "blip2/decoding/options.h"
#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/caption_tokens.h"
#include "blip2/evaluation/clip_score.h"
#include "blip2/evaluation/exact_match.h"
#include "blip2/evaluation/resampling.h"
#include "blip2/evaluation/vqa_accuracy.h"
#include "blip2/image/image.h"
#include "blip2/image/transform.h"
#include "blip2/io/safetensors.h"
#include "blip2/io/tensor_file.h"
#include "blip2/model/assembly.h"
#include "blip2/model/batched_generation.h"
#include "blip2/model/clip_model.h"
#include "blip2/model/generation_config.h"
#include "blip2/model/generation_model.h"
#include "blip2/model/prompts.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/retrieval/ranking.h"
#include "blip2/text/prompt.h"
#include "blip2/text/tokenizer.h"
#include "blip2/training/recipe.h"
#include "blip2/training/trainer.h"
