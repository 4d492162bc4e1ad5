#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/nn/linear.h"
#include "blip2/vision/image_encoder.h"
#include "blip2/vision/vision_config.h"

namespace blip2 {

// Makes an encoder with random weights in f32 from `seed`: N(0, 0.02) for a vision transformer,
// Kaiming for the convolutional ones; norms 1 and 0. Parameters require gradients.
std::shared_ptr<ImageEncoder> make_image_encoder(const VisionConfig& config,
                                                 std::uint64_t seed = 0);

// Loads an encoder with the weights that a file has under `prefix`, by Hugging Face's names,
// LAVIS's (EVA and CLIP vision transformers), torchvision's (ResNet) or those of the package
// efficientnet-lite-pytorch.
//
// Weights are kept in `dtype` (kFloat, kBFloat16, kHalf); weights that have this type in the file
// stay in the mapped file. A vision transformer computes in that type, convolutional encoders in
// f32 unless it is kBFloat16; an EfficientNet-Lite's weights are always f32. `trainable`: the
// weights get memory of their own and require gradients (vision transformers); Error if some are
// quantised. `form`: how a frozen vision transformer holds the matrices of its blocks: stored,
// blocks or packed.
//
// Strict: one Error lists every missing, unexpected and mis-shaped tensor. Tensors that no feature
// depends on are ignored: post_layernorm of EVA (BLIP-2's ln_vision) and CLIP, CLIP's blocks after
// feature_layers, the pooling heads of SigLIP and AIMv2, DINO's mask token, classifiers.
std::shared_ptr<ImageEncoder> load_image_encoder(std::shared_ptr<const TensorFile> file,
                                                 const VisionConfig& config,
                                                 const std::string& prefix,
                                                 at::ScalarType dtype = at::kFloat,
                                                 bool trainable = false,
                                                 MatrixForm form = MatrixForm::stored);

// Whether a file has matrices of the encoder in GGUF's blocks.
bool has_blocks(const TensorFile& file, const std::string& prefix);
// The names of the matrices that a vision transformer's blocks multiply with.
std::vector<std::string> matrix_names(const VitConfig& config);

// The prefix under which a file has the encoder's weights: "" in an encoder's own directory,
// "vision_model.", "dinov2." or the like in a larger model's, "visual_encoder." or
// "model.visual_encoder." in LAVIS's. Error if it has them under none of these.
std::string find_encoder_prefix(const TensorFile& file, const VisionConfig& config);

}  // namespace blip2
