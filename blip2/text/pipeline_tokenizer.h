#pragma once

#include <memory>

#include "blip2/text/tokenizer.h"
#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// The tokenizer that the definition describes; Error if it names tokens that it lacks or looks for
// two added tokens under one text.
std::unique_ptr<Tokenizer> make_tokenizer(TokenizerDefinition definition);

}  // namespace blip2
