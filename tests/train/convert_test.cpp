#include "train/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/huggingface.h"
#include "checkpoint/verify_checkpoint.h"
#include "core/philox.h"
#include "tests/model/fixtures.h"
#include "tests/scratch_dir.h"
#include "train/export_check.h"
#include "train/saved_state.h"

namespace trident {
namespace {

namespace fs = std::filesystem;
using namespace testing;
using test::read_file;
using test::ScratchDir;
using ::testing::HasSubstr;

/// Values that tell every element of every tensor apart.
void made_up_rows(const ModelConfig& config, const std::string& name, int64_t row0, std::span<float> out) {
  int64_t width = 1;
  for (const LogicalTensor& tensor : logical_tensors(config))
    if (tensor.name == name) width = whole_block(tensor.shape).columns;
  const RandomStream random(7, name);
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(random.uniform(static_cast<uint64_t>(row0 * width) + i) - 0.5);
}

TensorSource made_up(const ModelConfig& config) {
  return [config](const std::string& name, int64_t row0, int64_t /*rows*/, std::span<float> out) {
    made_up_rows(config, name, row0, out);
  };
}

/// The same, but one element of the feed-forward layer's second row.
TensorSource with_one_changed(const ModelConfig& config) {
  return [config](const std::string& name, int64_t row0, int64_t /*rows*/, std::span<float> out) {
    made_up_rows(config, name, row0, out);
    const auto width = static_cast<size_t>(config.hidden_size);
    if (name == "layers.1.mlp.up.weight" && row0 == 0) out[width + 3] += 1e-6F;
  };
}

class Conversions : public ::testing::TestWithParam<Family> {
 protected:
  [[nodiscard]] fs::path write(const std::string& name, const TensorSource& source,
                               const HuggingFaceExport& options = {}) {
    export_huggingface(scratch_ / name, config_, source, options);
    return scratch_ / name;
  }

  ScratchDir scratch_;
  ModelConfig config_ = tiny_config(GetParam());
};

TEST_P(Conversions, ImportKeepsEveryElement) {
  const fs::path source = write("hf", made_up(config_));
  const Conversion made = import_model(source, scratch_ / "run");
  EXPECT_EQ(made.parameters, parameter_count(config_));
  EXPECT_EQ(verify_checkpoint(made.folder).kind, CheckpointVerdict::Kind::intact);
  CheckpointReader checkpoint(made.folder);
  EXPECT_EQ(checkpoint.manifest().tensors, logical_tensors(config_));
  EXPECT_FALSE(checkpoint.manifest().moments);
  for (const LogicalTensor& tensor : checkpoint.manifest().tensors) {
    std::vector<float> found(static_cast<size_t>(tensor.shape.elements())), expected(found.size());
    checkpoint.read(StateKind::master, checkpoint.find(tensor.name), whole_block(tensor.shape), std::span(found));
    made_up_rows(config_, tensor.name, 0, expected);
    EXPECT_EQ(found, expected) << tensor.name;
  }
}

TEST_P(Conversions, ExportSaysWhatItProved) {
  const fs::path source = write("hf", made_up(config_));
  EXPECT_EQ(export_model(source, scratch_ / "fp32", DType::fp32, false).check,
            "weights equal, logits of 8 tokens equal");
  EXPECT_EQ(export_model(source, scratch_ / "bf16", DType::bf16, false).check,
            "weights equal the source's rounded to bf16, logits of 8 tokens equal");
  EXPECT_EQ(read_file(source / "model.safetensors"), read_file(scratch_ / "fp32" / "model.safetensors"));
}

TEST_P(Conversions, AnotherWeightFailsTheProof) {
  const ModelWeights source(write("hf", made_up(config_)));
  const fs::path other = write("other", with_one_changed(config_));
  try {
    (void)check_export(source, other, DType::fp32);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("layers.1.mlp.up.weight, rows 0 to "));
  }
  HuggingFaceExport rounded;
  rounded.dtype = DType::bf16;
  EXPECT_THROW((void)check_export(source, write("rounded", made_up(config_), rounded), DType::fp32), Error);
}

TEST_P(Conversions, AnotherModelOfTheSameWeightsFailsTheProof) {
  const ModelWeights source(write("hf", made_up(config_)));
  config_.norm_eps = 0.5;
  try {
    (void)check_export(source, write("other", made_up(config_)), DType::fp32);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the logits of token 0 differ"));
  }
}

TEST_P(Conversions, AFailedProofLeavesNothing) {
  HuggingFaceExport options;
  options.check = [](const fs::path& written) {
    EXPECT_TRUE(fs::exists(written / "model.safetensors"));
    throw Error(ErrorCode::internal, "test", "no");
  };
  EXPECT_THROW((void)write("hf", made_up(config_), options), Error);
  EXPECT_TRUE(fs::is_empty(scratch_.path()));
}

INSTANTIATE_TEST_SUITE_P(Families, Conversions,
                         ::testing::Values(Family::llama_gqa, Family::llama_tied, Family::gpt2_tied),
                         [](const auto& param) { return name_of(param.param); });

}  // namespace
}  // namespace trident
