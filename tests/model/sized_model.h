#pragma once

#include "model/model_config.h"

namespace trident::testing {

/// Llama with fewer key-value heads than query heads and a head of its own, Llama with a tied head, and GPT-2.
enum class Family { llama_gqa, llama_tied, gpt2_tied, gpt2_untied };

inline constexpr Family kFamilies[] = {Family::llama_gqa, Family::llama_tied, Family::gpt2_tied, Family::gpt2_untied};

inline std::string name_of(Family family) {
  constexpr const char* names[] = {"llama_gqa", "llama_tied", "gpt2_tied", "gpt2_untied"};
  return names[static_cast<size_t>(family)];
}

/// What a test decides of its model.
struct ModelSizes {
  struct Width {
    int64_t hidden = 0, inner = 0;
  };
  struct Heads {
    int64_t queries = 1;
    int64_t key_values = 0;  ///< 0: as many as queries
    int64_t dim = 0;         ///< 0: they share the width
  };
  Width width;
  int64_t layers = 0;
  Heads heads;
  int64_t vocabulary = 0, positions = 0;
  double deviation = 0.02;  ///< of initial weights
};

inline ModelConfig sized_model(Architecture architecture, bool tied, const ModelSizes& sizes) {
  ModelConfig config;
  config.architecture = architecture;
  config.hidden_size = sizes.width.hidden;
  config.intermediate_size = sizes.width.inner;
  config.num_hidden_layers = sizes.layers;
  config.num_attention_heads = sizes.heads.queries;
  config.num_key_value_heads = sizes.heads.key_values > 0 ? sizes.heads.key_values : sizes.heads.queries;
  config.head_dim = sizes.heads.dim > 0 ? sizes.heads.dim : sizes.width.hidden / sizes.heads.queries;
  config.vocab_size = sizes.vocabulary;
  config.max_position_embeddings = sizes.positions;
  config.initializer_range = sizes.deviation;
  config.tie_word_embeddings = tied;
  return config;
}

inline ModelConfig sized_model(Family family, const ModelSizes& sizes) {
  const bool llama = family == Family::llama_gqa || family == Family::llama_tied;
  const bool tied = family == Family::llama_tied || family == Family::gpt2_tied;
  return sized_model(llama ? Architecture::llama : Architecture::gpt2, tied, sizes);
}

}  // namespace trident::testing
