#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>

#include "blip2/base/message_of.h"
#include "blip2/io/safetensors.h"
#include "blip2/model/lavis_checkpoint_internal.h"
#include "blip2/model/lavis_convert.h"
#include "blip2/model/lavis_texts_internal.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;

// A file of zeros with the given names and shapes.
class Checkpoint {
 public:
  Checkpoint& with(const std::string& name, std::vector<std::int64_t> shape, double value = 0) {
    tensors_.emplace_back(name, at::full(shape, value));
    return *this;
  }
  Checkpoint& with_layer(int layer, bool crosses) {
    const std::string front = "Qformer.bert.encoder.layer." + std::to_string(layer) + ".";
    with(front + "attention.self.query.weight", {64, 64});
    if (crosses) with(front + "crossattention.self.key.weight", {64, 88});
    return with(front + "intermediate_query.dense.weight", {96, 64});
  }
  std::filesystem::path write() const {
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors_) views.push_back(view_of(name, tensor));
    write_safetensors(path(), views);
    return path();
  }
  LavisCheckpoint read() const { return read_lavis_checkpoint(open_tensor_file(write())); }

 private:
  std::filesystem::path path() const { return folder_.path() / "checkpoint.safetensors"; }
  TemporaryFolder folder_;
  std::vector<std::pair<std::string, at::Tensor>> tensors_;
};

void add_stage2(Checkpoint& file) {
  file.with("query_tokens", {1, 4, 64}).with("opt_proj.weight", {24, 64});
  for (int layer = 0; layer < 5; ++layer) file.with_layer(layer, layer % 2 == 0);
}

TEST(Lavis, NamesOfTheBridge) {
  EXPECT_EQ(lavis_bridge_name("Qformer.bert.encoder.layer.3.attention.self.query.weight"),
            "qformer.encoder.layer.3.attention.attention.query.weight");
  EXPECT_EQ(lavis_bridge_name("Qformer.bert.encoder.layer.2.crossattention.self.key.bias"),
            "qformer.encoder.layer.2.crossattention.attention.key.bias");
  EXPECT_EQ(lavis_bridge_name("Qformer.bert.encoder.layer.2.attention.output.dense.bias"),
            "qformer.encoder.layer.2.attention.output.dense.bias");
  EXPECT_EQ(lavis_bridge_name("Qformer.bert.embeddings.LayerNorm.weight"),
            "qformer.layernorm.weight");
  EXPECT_EQ(lavis_bridge_name("temp"), "temperature");
  EXPECT_EQ(lavis_bridge_name("llm_proj.bias"), "language_projection.bias");
  EXPECT_EQ(lavis_bridge_name("temporal.weight"), "");
  EXPECT_EQ(lavis_bridge_name("Qformer.bert.pooler.dense.weight"), "");
}

TEST(Lavis, SizesByTheShapes) {
  Checkpoint file;
  add_stage2(file);
  file.with("opt_model.model.decoder.embed_tokens.weight", {8, 24});
  const LavisCheckpoint read = file.read();
  EXPECT_EQ(read.num_query_tokens, 4);
  EXPECT_EQ(read.language_width, 24);
  EXPECT_EQ(read.contrast_width, 0);
  EXPECT_EQ(read.projection, "opt_proj");
  EXPECT_EQ(read.language_prefix, "opt_model.");
  EXPECT_EQ(read.image_prefix, "");
  EXPECT_EQ(read.qformer.num_hidden_layers, 5);
  EXPECT_EQ(read.qformer.cross_attention_frequency, 2);
  EXPECT_EQ(read.qformer.num_attention_heads, 1);
  EXPECT_EQ(read.qformer.encoder_hidden_size, 88);
  EXPECT_FALSE(read.qformer.use_qformer_text_input);
}

TEST(Lavis, RefusesWhatItDoesNotKnow) {
  const auto refusal = [](const std::function<void(Checkpoint&)>& change) {
    Checkpoint file;
    add_stage2(file);
    change(file);
    return message_of([&] { file.read(); });
  };
  EXPECT_EQ(refusal([](Checkpoint&) {}), "no error");
  EXPECT_THAT(refusal([](Checkpoint& f) { f.with("audio_encoder.weight", {2}); }),
              HasSubstr("audio_encoder.weight"));
  EXPECT_THAT(refusal([](Checkpoint& f) {
                f.with("Qformer.bert.embeddings.word_embeddings.weight", {9, 64})
                    .with("Qformer.bert.embeddings.position_embeddings.weight", {9, 64})
                    .with("Qformer.cls.predictions.decoder.weight", {9, 64}, 1.0);
              }),
              HasSubstr("differs from Qformer.bert.embeddings.word_embeddings.weight"));
  EXPECT_THAT(
      refusal([](Checkpoint& f) { f.with("Qformer.bert.embeddings.word_embeddings.weight", {9}); }),
      HasSubstr("expected 2 dimensions"));
  EXPECT_THAT(message_of([] {
                Checkpoint file;
                file.with("blocks.0.weight", {2}).read();
              }),
              HasSubstr("frozen parts"));
  EXPECT_THAT(message_of([] {
                Checkpoint file;
                file.with("query_tokens", {1, 4, 64}).with_layer(0, true).read();
              }),
              HasSubstr("neither"));
}

TEST(Lavis, SaysWhichPartToGive) {
  Checkpoint file;
  add_stage2(file);
  LavisParts parts;
  parts.checkpoint = file.write().string();
  const TemporaryFolder folder;
  const auto convert = [&] { convert_lavis(parts, folder.path() / "model", std::nullopt); };
  EXPECT_THAT(message_of(convert), HasSubstr("--image-encoder"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "model"));
}

}  // namespace
}  // namespace blip2
