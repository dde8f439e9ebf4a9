#include "model/model_config.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace trident {
namespace {

ModelConfig make(Architecture architecture, int64_t hidden, int64_t inner, int64_t layers, int64_t heads, int64_t kv,
                 int64_t vocab, int64_t positions, bool tied) {
  ModelConfig config;
  config.architecture = architecture;
  config.hidden_size = hidden;
  config.intermediate_size = inner;
  config.num_hidden_layers = layers;
  config.num_attention_heads = heads;
  config.num_key_value_heads = kv;
  config.head_dim = hidden / heads;
  config.vocab_size = vocab;
  config.max_position_embeddings = positions;
  config.tie_word_embeddings = tied;
  return config;
}

TEST(ModelConfig, CountsThePublishedParameters) {
  EXPECT_EQ(parameter_count(make(Architecture::gpt2, 768, 3072, 12, 12, 12, 50257, 1024, true)), 124439808);
  EXPECT_EQ(parameter_count(make(Architecture::llama, 4096, 11008, 32, 32, 32, 32000, 4096, false)), 6738415616);
  EXPECT_EQ(parameter_count(make(Architecture::llama, 4096, 14336, 32, 32, 8, 128256, 8192, false)), 8030261248);
  EXPECT_EQ(parameter_count(make(Architecture::llama, 8192, 28672, 80, 64, 8, 128256, 8192, false)), 70553706496);
}

TEST(ModelConfig, CountsFlopsPerToken) {
  // The benchmark models S and L of a GPT-2 style: 22.02 and 769.7 MFLOP a token, attention in full.
  EXPECT_NEAR(flops_per_token(make(Architecture::gpt2, 256, 1024, 4, 4, 4, 1024, 128, true), 128), 22.02e6, 0.01e6);
  EXPECT_NEAR(flops_per_token(make(Architecture::gpt2, 768, 3072, 12, 12, 12, 50304, 256, true), 256), 769.7e6, 0.1e6);
}

TEST(ModelConfig, RefusesEveryBrokenRuleAtOnce) {
  ModelConfig config = make(Architecture::llama, 64, 128, 2, 4, 3, 100, 32, false);
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
  config = make(Architecture::gpt2, 0, 128, 2, 1, 1, 100, 32, false);
  EXPECT_THROW(validate(config), Error);
}

}  // namespace
}  // namespace trident
