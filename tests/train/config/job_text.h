#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "train/config/config.h"

namespace trident::config_test {

/// The example of the job file's documentation: every section, one key or more each.
inline const std::string kFullJob = R"(run: {name: smoke, dir: runs, seed: 1234}
device: auto
model:
  architecture: llama
  hidden_size: 128
  intermediate_size: 352
  num_hidden_layers: 4
  num_attention_heads: 4
  num_key_value_heads: 2
  vocab_size: 256
  max_position_embeddings: 256
  rms_norm_eps: 1.0e-5
  rope_theta: 10000.0
  tie_word_embeddings: false
tokenizer: {kind: byte}
data:
  train: [{path: data/kjv, weight: 1.0}]
  validation: data/kjv-val
  shuffle: true
parallelism:
  dp: 2
  tp: 1
  pp: 2
  schedule: 1f1b
  virtual_stages: 1
  layers_per_stage: [2, 2]
  rank_order: tp-dp-pp
  sequence_parallel: true
  zero_stage: 1
  reduction: exact
  logical_shards: auto
training:
  sequence_length: 128
  global_batch_size: 16
  micro_batch_size: 2
  steps: 500
  stop_after: 200
  recompute: none
  clip_grad_norm: 1.0
precision: {compute: fp32}
optimizer: {name: adamw, lr: 1.0e-3, betas: [0.9, 0.95], eps: 1.0e-8, weight_decay: 0.1}
lr_schedule: {name: cosine, warmup_steps: 50, min_lr: 1.0e-4}
checkpoint: {interval_steps: 100, keep: 3, async: true, resume: auto}
evaluation: {interval_steps: 100, batches: 20}
logging: {interval_steps: 1, tensorboard: true, trace_steps: [10, 12]}
fault: {heartbeat: 0.25s, node_timeout: 3s, hang_timeout: auto, max_restarts: 20, min_ranks: 1, snapshot_interval_steps: 1}
)";

/// Three good lines; tests append to them from line 4 on.
inline const std::string kSmallJob = "model: {preset: llama-tiny}\ndata: {train: data/kjv}\ntraining: {steps: 5}\n";

/// what() of the ConfigErrors that `text` causes; empty where it is accepted.
inline std::string errors_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    static_cast<void>(parse_job(text, "job.yaml", overrides));
  } catch (const ConfigErrors& error) {
    if (error.exit_code() != 78) return "exit code is not 78";
    return error.what();
  }
  return {};
}

}  // namespace trident::config_test
