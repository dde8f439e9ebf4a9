#include "checkpoint/huggingface_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace trident {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelConfig parse(const char* text) { return parse_huggingface_config(json::parse(text), "config.json").model; }

TEST(HuggingFaceConfig, LlamaOfTransformers4) {
  const ModelConfig model = parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":96,
    "intermediate_size":250,"num_hidden_layers":3,"num_attention_heads":6,"num_key_value_heads":2,"head_dim":24,
    "vocab_size":301,"max_position_embeddings":77,"rms_norm_eps":1e-5,"rope_theta":500000.0,"rope_scaling":null,
    "initializer_range":0.01,"tie_word_embeddings":true,"torch_dtype":"bfloat16","pretraining_tp":4})");
  const ModelConfig expected{Architecture::llama, 96, 250, 3, 6, 2, 24, 301, 77, 1e-5, 500000.0, 0.01, true};
  EXPECT_EQ(model, expected);
}

TEST(HuggingFaceConfig, RopeParametersOfTransformers5) {
  EXPECT_EQ(parse(R"({"model_type":"llama","rope_parameters":{"rope_theta":5e5,"rope_type":"default"}})").rope_theta,
            5e5);
  EXPECT_EQ(parse(R"({"model_type":"llama","rope_theta":7.0,"rope_parameters":{"rope_type":"default"}})").rope_theta,
            7.0);
}

TEST(HuggingFaceConfig, MissingKeysTakeTheDocumentedDefaults) {
  const ModelConfig llama{Architecture::llama, 4096, 11008, 32, 32, 32, 128, 32000, 2048, 1e-6, 10000.0, 0.02, false};
  EXPECT_EQ(parse(R"({"model_type":"llama"})"), llama);
  EXPECT_EQ(parse(R"({"model_type":"llama","num_key_value_heads":null,"head_dim":null})"), llama);
  const ModelConfig gpt2{Architecture::gpt2, 768, 3072, 12, 12, 12, 64, 50257, 1024, 1e-5, 10000.0, 0.02, true};
  EXPECT_EQ(parse(R"({"model_type":"gpt2","n_inner":null,"reorder_and_upcast_attn":true})"), gpt2);
}

TEST(HuggingFaceConfig, SpecialTokens) {
  const auto tokens = [](const char* text) {
    return parse_huggingface_config(json::parse(text), "config.json").special_tokens;
  };
  EXPECT_THAT(tokens(R"({"model_type":"llama","bos_token_id":5,"eos_token_id":[7,8]})").eos, ElementsAre(7, 8));
  EXPECT_THAT(tokens(R"({"model_type":"llama","bos_token_id":null,"eos_token_id":3})").eos, ElementsAre(3));
  EXPECT_THAT(tokens(R"({"model_type":"llama"})").eos, IsEmpty());
  EXPECT_EQ(tokens(R"({"model_type":"llama","bos_token_id":5})").bos, 5);
}

struct Refusal {
  const char* text;
  const char* expected;
};

TEST(HuggingFaceConfig, UnsupportedSettingsAreRefusedByName) {
  const Refusal refusals[] = {
      {R"([])", "expected an object"},
      {R"({})", "model_type is missing, expected llama or gpt2"},
      {R"({"model_type":"mistral"})", "model_type is mistral, expected llama or gpt2"},
      {R"({"model_type":7})", "model_type is 7, expected a string"},
      {R"({"model_type":"llama","architectures":["LlamaForSequenceClassification"]})", "architectures is"},
      {R"({"model_type":"llama","architectures":"LlamaForCausalLM"})", "architectures is"},
      {R"({"model_type":"gpt2","architectures":["GPT2DoubleHeadsModel"]})", "GPT2LMHeadModel or GPT2Model"},
      {R"({"model_type":"llama","attention_bias":true})", "attention_bias is true, expected false"},
      {R"({"model_type":"llama","mlp_bias":true})", "mlp_bias is true"},
      {R"({"model_type":"llama","mlp_bias":0})", "mlp_bias is 0, expected true or false"},
      {R"({"model_type":"llama","hidden_act":"gelu"})", "hidden_act is gelu, expected silu"},
      {R"({"model_type":"llama","rope_scaling":{"type":"linear","factor":2.0}})", "rope_scaling: type is linear"},
      {R"({"model_type":"llama","rope_scaling":{"rope_type":"llama3","factor":8.0}})", "rope_type is llama3"},
      {R"({"model_type":"llama","rope_parameters":{"rope_type":"yarn"}})", "rope_parameters: rope_type is yarn"},
      {R"({"model_type":"llama","rope_theta":1.0,"rope_parameters":{"rope_theta":2.0}})", "expected 1, as at the top"},
      {R"({"model_type":"llama","rope_scaling":"x"})", "rope_scaling is \"x\""},
      {R"({"model_type":"llama","rope_theta":0})", "rope_theta is 0, expected a positive number"},
      {R"({"model_type":"llama","partial_rotary_factor":0.5})", "partial_rotary_factor is 0.5"},
      {R"({"model_type":"llama","quantization_config":{"bits":4}})", "quantization_config is {\"bits\":4}"},
      {R"({"model_type":"llama","hidden_size":-1})", "hidden_size is -1, expected a whole number"},
      {R"({"model_type":"llama","hidden_size":1.5})", "hidden_size is 1.5"},
      {R"({"model_type":"llama","hidden_size":"4096"})", "hidden_size is \"4096\""},
      {R"({"model_type":"llama","hidden_size":18446744073709551615})", "hidden_size is 18446744073709551615"},
      {R"({"model_type":"llama","hidden_size":100})", "a multiple of num_attention_heads 32"},
      {R"({"model_type":"llama","num_key_value_heads":5})", "a divisor of num_attention_heads 32"},
      {R"({"model_type":"llama","head_dim":33})", "head_dim is 33, expected an even number"},
      {R"({"model_type":"llama","num_hidden_layers":1000000})", "num_hidden_layers is 1000000"},
      {R"({"model_type":"llama","rms_norm_eps":2})", "rms_norm_eps is 2"},
      {R"({"model_type":"llama","eos_token_id":"x"})", "eos_token_id is \"x\", expected a token id"},
      {R"({"model_type":"llama","bos_token_id":-3})", "bos_token_id is -3"},
      {R"({"model_type":"gpt2","activation_function":"gelu"})", "activation_function is gelu, expected gelu_new or"},
      {R"({"model_type":"gpt2","scale_attn_weights":false})", "scale_attn_weights is false, expected true"},
      {R"({"model_type":"gpt2","scale_attn_by_inverse_layer_idx":true})", "scale_attn_by_inverse_layer_idx is true"},
      {R"({"model_type":"gpt2","add_cross_attention":true})", "add_cross_attention is true"},
      {R"({"model_type":"gpt2","n_embd":100})", "n_embd is 100, expected a multiple of n_head 12"},
  };
  for (const Refusal& refusal : refusals) {
    try {
      parse(refusal.text);
      ADD_FAILURE() << "accepted " << refusal.text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_data);
      EXPECT_THAT(error.what(), HasSubstr("config.json"));
      EXPECT_THAT(error.what(), HasSubstr(refusal.expected)) << refusal.text;
    }
  }
}

TEST(HuggingFaceConfig, WhatIsWrittenReadsBackTheSame) {
  const ModelConfig models[] = {
      {Architecture::llama, 96, 250, 3, 6, 2, 24, 301, 77, 1e-5, 12345.678, 0.0123, true},
      {Architecture::gpt2, 60, 240, 2, 5, 5, 12, 99, 33, 1e-5, 10000.0, 0.02, true},
      {Architecture::gpt2, 60, 123, 2, 5, 5, 12, 99, 33, 3e-6, 10000.0, 0.02, false},
  };
  for (const ModelConfig& model : models) {
    for (const SpecialTokens& tokens : {SpecialTokens{}, SpecialTokens{4, {5}}, SpecialTokens{{}, {5, 6}}}) {
      const auto written = make_huggingface_config({model, tokens}, DType::bf16);
      EXPECT_EQ(written.at("torch_dtype"), "bfloat16");
      const HuggingFaceConfig back = parse_huggingface_config(written, "config.json");
      EXPECT_EQ(back.model, model);
      EXPECT_EQ(back.special_tokens.bos, tokens.bos);
      EXPECT_EQ(back.special_tokens.eos, tokens.eos);
    }
  }
}

}  // namespace
}  // namespace trident
