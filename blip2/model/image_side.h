#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "blip2/image/transform.h"
#include "blip2/io/tensor_file.h"
#include "blip2/model/config.h"

namespace blip2 {

// The frozen image encoder of a model directory with its preprocessing.
class ImageSide {
 public:
  ImageSide(const std::filesystem::path& folder, const TensorFile& weights,
            const Blip2Config& config);

  // Features of picture files, decoded in parallel: [N, P, D] f32. Error naming the file that
  // cannot be read.
  at::Tensor encode(std::span<const std::string> images) const;
  const EfficientNetLite& encoder() const { return *encoder_; }
  const Preprocessing& preprocessing() const { return preprocessing_; }

 private:
  Preprocessing preprocessing_;
  std::shared_ptr<EfficientNetLite> encoder_;
};

}  // namespace blip2
