#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trident {

enum class Architecture {
  llama,  ///< RMSNorm, rotary embedding, SwiGLU, grouped-query attention, no biases
  gpt2,   ///< LayerNorm, learned positions, tanh-GELU, biases
};

[[nodiscard]] std::string_view to_string(Architecture architecture);

/// What a model is: the keys of Hugging Face's Llama config.json, for both families.
struct ModelConfig {
  Architecture architecture = Architecture::llama;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  ///< size of one head, usually hidden_size / num_attention_heads
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  double norm_eps = 1e-5;  ///< rms_norm_eps (Llama) or layer_norm_epsilon (GPT-2)
  double rope_theta = 10000.0;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;

  bool operator==(const ModelConfig&) const = default;
};

/// Throws Error(ErrorCode::config) naming every rule that the sizes break.
void validate(const ModelConfig& config);

/// A size of the model that does not fit a layout.
struct SizeProblem {
  std::string_view key;  ///< "intermediate_size"
  std::string problem;
};
/// What keeps the model from being cut over `tp` tensor-parallel ranks: query heads and the inner width are cut evenly,
/// key-value heads are too or are copied, every rank has a row of the vocabulary.
[[nodiscard]] std::vector<SizeProblem> tensor_parallel_problems(const ModelConfig& config, int64_t tp);

/// What keeps the blocks' products, cut over `tp` ranks, from running in fp8: sizes that are no multiples of
/// kFp8Multiple. Of a layout without tensor_parallel_problems().
[[nodiscard]] std::vector<SizeProblem> fp8_problems(const ModelConfig& config, int64_t tp);

/// Parameters of the whole model; a tied head counts once.
[[nodiscard]] int64_t parameter_count(const ModelConfig& config);

/// Model FLOPs of one training token at `sequence_length`, forward and backward: 6 per weight of a matrix product
/// (the head included, embedding look-ups not) plus 12·layers·heads·head_dim·T for attention counted in full,
/// without the causal saving (Narayanan et al., "Efficient large-scale language model training", SC21, appendix).
[[nodiscard]] double flops_per_token(const ModelConfig& config, int64_t sequence_length);

}  // namespace trident
