#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "blip2/io/question_kinds.h"

namespace blip2 {

// Sums up the accuracy for each kind of question.
class KindScores {
 public:
  void add(const QuestionKinds& kinds, double accuracy);
  bool empty() const { return sums_.empty(); }
  // {"question_type": {"what is the": {"accuracy": 0.5, "questions": 2}}}
  nlohmann::ordered_json to_json() const;

 private:
  struct Sum {
    double accuracy = 0;
    std::size_t questions = 0;
  };
  std::map<std::string, std::map<std::string, Sum>> sums_;
};

}  // namespace blip2
