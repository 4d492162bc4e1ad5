#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "blip2/text/decoder.h"
#include "blip2/text/normalizer.h"
#include "blip2/text/space_split.h"
#include "blip2/text/split.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {

// A token that is found literally in the text, before the model reads the rest. The flags are those
// of tokenizer.json.
struct AddedToken {
  std::int32_t id = -1;
  std::string content;
  bool single_word = false;  // not inside a longer word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // searched in the normalised text, and normalised itself
  bool special = true;       // left out by decode(…, skip_special_tokens)
};

// BERT's normaliser, pre-tokenizer and WordPiece model.
struct WordPieceModel {
  bool clean_text = true;
  bool handle_chinese = true;
  bool lowercase = true;
  std::optional<bool> strip_accents;  // nullopt: as `lowercase`
  std::string unknown = "[UNK]";
  std::string prefix = "##";
  std::int32_t max_characters = 100;  // a longer word is unknown
};

// Two tokens that become one, as ids. A merge's place in a list is its rank.
struct PairMerge {
  std::int32_t left, right, merged;
};

// Byte-level BPE as GPT-2 and CLIP have it.
struct BytePairModel {
  std::vector<PairMerge> merges = {};
  SplitPattern pattern = SplitPattern::none;  // the first split; then digits, then words
  DigitSplit digits = DigitSplit::none;
  bool add_prefix_space = false;
  bool split_words = true;     // split words by GPT-2's pattern
  bool ignore_merges = false;  // a word that is a token gives that token, without merges
  std::optional<std::string> unknown = {};
  bool fuse_unknown = false;
  std::string word_end = {};  // CLIP's "</w>": the end of a token that ends a word
};

// BPE over characters as SentencePiece has it (Llama, Mistral).
struct CharacterPairModel {
  std::vector<PairMerge> merges;
  SpaceSplit spaces;
  bool byte_fallback = false;  // a character without a token becomes tokens of bytes, "<0x0A>"
  bool ignore_merges = false;
  std::optional<std::string> unknown;
  bool fuse_unknown = false;
};

// SentencePiece's unigram model (T5): the most likely segmentation.
struct UnigramModel {
  std::vector<double> scores;           // log probabilities by id
  std::optional<std::int32_t> unknown;  // neighbouring unknown characters are one token
  SpaceSplit spaces;
  bool byte_fallback = false;
};

// How a list of token strings becomes text.
struct DecoderOptions {
  bool joins = true;     // join by the model's rule; false: with spaces between the tokens
  bool clean_up = true;  // WordPiece: no space before punctuation and contractions
  std::string prefix = "##";
  std::vector<DecoderStep> steps;  // for CharacterPairModel and UnigramModel
};

// Everything that a tokenizer's files say, whatever their format.
struct TokenizerDefinition {
  std::vector<std::string> pieces;         // tokens by id, added tokens too; "" for a free id
  TokenIds ids;                            // ids by token
  std::int32_t model_size = 0;             // ids from here on are added tokens
  std::vector<NormalizerStep> normalizer;  // empty for WordPiece, which has its own
  std::variant<WordPieceModel, BytePairModel, CharacterPairModel, UnigramModel> model;
  std::map<std::int32_t, AddedToken> added;  // by id
  std::vector<std::int32_t> prefix, suffix;  // put around a text by add_special_tokens
  std::map<std::string, std::string> roles;  // "bos_token" -> "<s>"
  DecoderOptions decoder;
  bool clean_up_spaces = false;     // tokenizer_config.json's clean_up_tokenization_spaces
  std::string chat_template;        // Jinja
  std::string chat_template_where;  // its file and, in it, the key
  std::string chat_template_fault;  // why there is none, if the files have the key
  std::string where;                // the file, for messages

  // Sets the model's vocabulary; `tokens` are in the order of their ids. Error if it is empty or
  // has a token twice.
  void set_pieces(std::vector<std::string> tokens);
  // Adds the token, or changes the added token of the same content, and returns its id: that of the
  // vocabulary if the token is there, else a new id at the end. token.id is ignored.
  std::int32_t add(AddedToken token);
  // Adds the token unless a token of the same content has been added before.
  void add_if_missing(const AddedToken& token);
};

}  // namespace blip2
