#pragma once

#include <memory>

#include "blip2/text/tokenizer.h"
#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// The tokenizer that the definition describes. Error if the definition names a token that it lacks,
// or gives two added tokens the same text.
std::unique_ptr<Tokenizer> make_tokenizer(TokenizerDefinition definition);

}  // namespace blip2
