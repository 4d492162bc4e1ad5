#include "blip2/language/embeddings_name.h"

namespace blip2 {

EmbeddingsName find_embeddings(const TensorFile& file, const std::string& prefix,
                               const std::string& usual,
                               std::initializer_list<const char*> others) {
  if (file.find(prefix + usual)) return {usual, usual};
  for (const char* other : others) {
    if (file.find(prefix + other)) return {usual, other};
  }
  return {usual, usual};
}

}  // namespace blip2
