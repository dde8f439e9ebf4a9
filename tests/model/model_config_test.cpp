#include "model/model_config.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/model/sized_model.h"

namespace trident {
namespace {

using testing::sized_model;

TEST(ModelConfig, CountsThePublishedParameters) {
  EXPECT_EQ(parameter_count(sized_model(Architecture::gpt2, true, {{768, 3072}, 12, {12}, 50257, 1024})), 124439808);
  EXPECT_EQ(parameter_count(sized_model(Architecture::llama, false, {{4096, 11008}, 32, {32}, 32000, 4096})),
            6738415616);
  EXPECT_EQ(parameter_count(sized_model(Architecture::llama, false, {{4096, 14336}, 32, {32, 8}, 128256, 8192})),
            8030261248);
  EXPECT_EQ(parameter_count(sized_model(Architecture::llama, false, {{8192, 28672}, 80, {64, 8}, 128256, 8192})),
            70553706496);
}

TEST(ModelConfig, CountsFlopsPerToken) {
  // The benchmark models S and L of a GPT-2 style: 22.02 and 769.7 MFLOP a token, attention in full.
  EXPECT_NEAR(flops_per_token(sized_model(Architecture::gpt2, true, {{256, 1024}, 4, {4}, 1024, 128}), 128), 22.02e6,
              0.01e6);
  EXPECT_NEAR(flops_per_token(sized_model(Architecture::gpt2, true, {{768, 3072}, 12, {12}, 50304, 256}), 256), 769.7e6,
              0.1e6);
}

TEST(ModelConfig, NamesWhatFp8CannotMultiply) {
  const ModelConfig config = sized_model(Architecture::llama, false, {{96, 192}, 2, {12, 4}, 100, 32});  // heads of 8
  EXPECT_TRUE(fp8_problems(config, 1).empty());
  EXPECT_TRUE(fp8_problems(config, 2).empty());
  const auto of_four = fp8_problems(config, 4);  // 24 columns of queries and 8 each of keys and values
  ASSERT_EQ(of_four.size(), 2u);
  EXPECT_EQ(of_four[0].key, "num_attention_heads");
  EXPECT_EQ(of_four[0].problem, "fp8 needs multiples of 16: the queries' columns of a rank are 24");
  EXPECT_EQ(of_four[1].key, "num_key_value_heads");
  ModelConfig narrow = config;
  narrow.hidden_size = 104;
  narrow.intermediate_size = 200;
  EXPECT_EQ(fp8_problems(narrow, 1).size(), 2u);
}

TEST(ModelConfig, RefusesEveryBrokenRuleAtOnce) {
  ModelConfig config = sized_model(Architecture::llama, false, {{64, 128}, 2, {4, 3}, 100, 32});
  config.head_dim = 15;
  config.rope_theta = 0;
  try {
    validate(config);
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.code(), ErrorCode::config);
    EXPECT_NE(text.find("num_attention_heads 4 is not a multiple"), std::string::npos);
    EXPECT_NE(text.find("head_dim 15 is odd"), std::string::npos);
    EXPECT_NE(text.find("rope_theta"), std::string::npos);
  }
  config = sized_model(Architecture::gpt2, false, {{0, 128}, 2, {1}, 100, 32});
  EXPECT_THROW(validate(config), Error);
}

}  // namespace
}  // namespace trident
