#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/text/tokenizer_definition.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {

// The unigram language model's segmentation (Kudo 2018) by Viterbi, with the arithmetic and the
// order of `tokenizers`.
class UnigramEncoder {
 public:
  // `pieces` by id. Throws Error if the unknown token is not among them.
  UnigramEncoder(const UnigramModel& model, std::span<const std::string> pieces);

  // Appends the ids of valid UTF-8 text that holds no added token. at_start: the text is the
  // beginning of the whole text. Error if a character has no token and there is no unknown token.
  void encode(std::string_view text, bool at_start, std::vector<std::int32_t>& ids) const;

 private:
  // The best segmentation of the bytes up to a place.
  struct Node {
    double score = 0;
    std::int32_t id = -1;
    std::int32_t start = -1;  // where its last token begins; -1: no segmentation ends here yet
  };
  struct Branch {
    std::uint64_t edge;  // node << 8 | byte; all ones if the slot is free
    std::int32_t node;
  };

  void insert(std::string_view token, std::int32_t id);
  std::int32_t child(std::int32_t node, unsigned char byte) const;  // -1: none
  std::size_t slot_of(std::uint64_t edge) const;
  void grow();
  std::vector<Node> lattice(std::string_view part) const;
  void encode_part(std::string_view part, std::vector<std::int32_t>& ids) const;
  void add_token(std::string_view token, std::vector<std::int32_t>& ids) const;

  UnigramModel model_;
  TokenIds words_;
  double unknown_score_;
  std::vector<Branch> branches_;      // open addressing; the size is a power of two
  std::vector<std::int32_t> tokens_;  // by node: the token that ends there, or -1
};

}  // namespace blip2
