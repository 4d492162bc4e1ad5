#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// Captions as the tokenised texts that published scores are computed on: lower case, words with one
// space between, punctuation dropped. They equal those of pycocoevalcap 1.2, which runs Stanford's
// PTBTokenizer (CoreNLP 3.4.1) over all captions as the lines of one text and drops a list of
// punctuation marks. So a caption that ends in one letter and a full stop depends on the next one,
// as there. There is one difference: any line break in a caption is a space here, where
// pycocoevalcap shifts all later captions by a line (it replaces \n alone). Throws Error if a
// caption has more than 10,000 UTF-16 code units. Several threads may call it at once.
std::vector<std::string> tokenise_captions(std::span<const std::string_view> captions,
                                           std::size_t threads = 1);

}  // namespace blip2
