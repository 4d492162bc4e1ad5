#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// The part of a SentencePiece model file that transformers uses. Source: google/sentencepiece,
// src/sentencepiece_model.proto.
struct SentencePieceModel {
  enum class Kind { unigram = 1, byte_pair = 2 };
  enum class PieceType { normal = 1, unknown, control, user_defined, unused, byte };
  struct Piece {
    std::string text;
    float score = 0;
    PieceType type = PieceType::normal;
  };
  std::vector<Piece> pieces;
  Kind kind = Kind::unigram;
  std::int32_t unknown_id = 0;
  std::string charsmap;
};

// Reads the file's bytes; Error naming `where` and the byte if the file is cut short or malformed.
SentencePieceModel read_sentencepiece(std::span<const std::byte> bytes, const std::string& where);

// Reads a spiece.model or tokenizer.model with the defaults of transformers' T5Tokenizer (unigram)
// or LlamaTokenizer (BPE); `config` is the object in tokenizer_config.json.
TokenizerDefinition read_sentencepiece_tokenizer(const std::filesystem::path& path,
                                                 const nlohmann::json& config);
TokenizerDefinition sentencepiece_tokenizer(const SentencePieceModel& model,
                                            const nlohmann::json& config, const std::string& where);

// Gives the definition LlamaTokenizer's pipeline: BPE over characters with byte fallback, spaces
// written as "▁", and one "▁" put before the text.
void set_llama_pipeline(TokenizerDefinition& definition, std::vector<PairMerge> merges,
                        SpaceSplit::Prepend prepend);

// The merges that a vocabulary implies: every way to make a token from two other tokens, in the
// order of the tokens or, with scores, the highest score first. Error for a token that is too long
// for this.
std::vector<PairMerge> merges_of_vocabulary(const TokenizerDefinition& definition,
                                            std::span<const float> scores = {});

}  // namespace blip2
