#pragma once

#include <span>
#include <string>

namespace blip2 {

// An answer in the VQA benchmark's normal form: punctuation dropped or spaced, lower case, number
// words up to ten as digits, articles dropped, apostrophes put back into contractions. Several
// threads may call the functions of this header at once. Source: VQA's evaluation code
// (GT-Vision-Lab/VQA, vqaEval.py), processPunctuation followed by processDigitArticle.
std::string normalise_vqa_answer(const std::string& answer);

// How right an answer is, 0 to 1. With ten people's answers it is VQAv2's accuracy: the mean over
// the ten ways of leaving one person out of min(people who agree / 3, 1), answers in normal form
// unless all people agree. With any other number of answers it is 1 if the answer equals one of
// them, as it stands (but for case and spaces) or in normal form, else 0.
double vqa_accuracy(const std::string& answer, std::span<const std::string> right);

}  // namespace blip2
