#pragma once

#include "plan/predict.h"

namespace trident::plan::testing {

/// A small Llama.
inline ModelConfig small_model(bool tied = false) {
  ModelConfig model;
  model.hidden_size = 256;
  model.intermediate_size = 704;
  model.num_hidden_layers = 8;
  model.num_attention_heads = 8;
  model.num_key_value_heads = 4;
  model.head_dim = 32;
  model.vocab_size = 4096;
  model.max_position_embeddings = 128;
  model.tie_word_embeddings = tied;
  return model;
}

/// A Llama of 7 billion parameters.
inline ModelConfig large_model() {
  ModelConfig model;
  model.hidden_size = 4096;
  model.intermediate_size = 11008;
  model.num_hidden_layers = 32;
  model.num_attention_heads = model.num_key_value_heads = 32;
  model.head_dim = 128;
  model.vocab_size = 32000;
  model.max_position_embeddings = 4096;
  return model;
}

inline Workload workload(const ModelConfig& model, int64_t length, int64_t batch, DType compute = DType::bf16) {
  Workload work;
  work.model = model;
  work.compute = compute;
  work.sequence_length = length;
  work.global_batch_size = batch;
  return work;
}

/// Eight accelerators a node.
inline ClusterSpec cluster(int64_t nodes = 64) {
  ClusterSpec spec;
  spec.name = "test";
  spec.nodes = nodes;
  spec.accelerators_per_node = 8;
  spec.peak_bf16 = 312e12;
  spec.peak_fp32 = spec.peak_fp64 = 19.5e12;
  spec.memory = 80e9;
  spec.memory_bandwidth = 2e12;
  spec.kernel_time = 4e-6;
  spec.inside = {300e9, 0.65, 2e-6};
  spec.between = {25e9, 0.9, 5e-6};
  spec.fitted = {0.7, 0.6, 0.5};
  spec.cost_per_hour = 2;
  return spec;
}

}  // namespace trident::plan::testing
