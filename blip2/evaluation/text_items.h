#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "blip2/io/question_kinds.h"

namespace blip2 {

enum class TextTask { caption, vqa };

// The texts for one picture or question in a file of results or references.
struct TextItem {
  std::vector<std::string> names;  // names by which it is found, the most reliable first
  std::vector<std::string> texts;  // captions or answers
  QuestionKinds kinds = {};        // of a question; of NoCaps' pictures the "domain"
  std::size_t entry = 0;           // number of the list entry or line, from 1
  std::string image = {};          // the picture's name in the file, if it has one
  std::string question = {};
};

// Reads one of
//   a JSON list or JSON lines of {"image_id", "caption"}, {"question_id", "answer"}, {"image",
//   "captions"}, {"image", "question", "answers"} and the like, as benchmarks' servers take results
//   and this program prints and reads them;
//   COCO's {"images", "annotations"} of captions, NoCaps' too;
//   VQAv2's and OK-VQA's {"annotations"} of answers, with the kinds of questions;
//   GQA's object of questions by their identifiers, and its results {"questionId", "prediction"};
//   Karpathy's {"images": [{"sentences"}]}, of which `split` chooses one.
// Captions of one picture become one item, in the order in which pictures are listed. Pictures
// need not exist. Throws Error naming file and entry for what is malformed.
std::vector<TextItem> read_text_items(const std::filesystem::path& path, TextTask task,
                                      const std::string& split = {});

// The names of a picture, or of a question about it: its identifier, its path, its file name.
std::vector<std::string> names_of_item(const std::string& id, const std::string& image,
                                       const std::string& question);

// A result and the reference with which it is compared.
struct TextPair {
  const TextItem *result, *reference;
};

// Pairs in the references' order. Unless `partial`, each reference needs a result; `partial` leaves
// out references without a result. Throws Error for a result whose record is not among the
// references or has two results, for a result of several texts, or if no pair is left.
std::vector<TextPair> pair_items(const std::vector<TextItem>& results,
                                 const std::vector<TextItem>& references, bool partial);

}  // namespace blip2
