#pragma once

#include <cstdint>
#include <variant>
#include <vector>

namespace blip2 {

// How rotary angles are changed for longer texts than those that a model was first trained on. The
// kinds have the names of transformers' rope_type and the fields of its rope_parameters.
struct LinearRope {  // "linear": all frequencies are divided by the factor
  double factor = 1.0;
};

struct Llama3Rope {  // "llama3": low frequencies are divided by the factor
  double factor = 8.0, low_freq_factor = 1.0, high_freq_factor = 4.0;
  double original_max_position_embeddings = 8192.0;
};

struct YarnRope {  // "yarn": the same with bounds in rotations over the original length
  double factor = 1.0, beta_fast = 32.0, beta_slow = 1.0, original_max_position_embeddings = 0.0;
  double attention_factor = 1.0;  // what cosines and sines are multiplied by
  bool truncate = true;           // bounds are whole numbers
};

// "longrope": each frequency is divided by a factor of its own, one of `long_factor` in a sequence
// of more than original_max_position_embeddings tokens, for all its positions.
struct LongRope {
  std::vector<double> short_factor, long_factor;
  std::int64_t original_max_position_embeddings = 0;
  double attention_factor = 1.0;  // what cosines and sines are multiplied by

  bool same_for_all() const { return short_factor == long_factor; }  // lengths
  // Whether factors are all that it has, as Llama 3.1's frequencies in a GGUF file.
  bool only_factors() const { return same_for_all() && attention_factor == 1.0; }
};

// The angles by which queries and keys rotate: position * theta^(-2 i / rotated numbers), scaled.
struct Rope {
  double theta = 10000.0;
  std::variant<std::monostate, LinearRope, Llama3Rope, YarnRope, LongRope> scaling = {};
};

}  // namespace blip2
