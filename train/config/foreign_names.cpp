#include "train/config/foreign_names.h"

#include <algorithm>
#include <array>
#include <string>

namespace trident::config {
namespace {

constexpr std::string_view kMegatron = "Megatron-LM";
constexpr std::string_view kTitan = "torchtitan";
constexpr std::string_view kNanotron = "nanotron";
constexpr std::string_view kTransformers = "Hugging Face Trainer";
constexpr std::string_view kGpt2 = "Hugging Face GPT-2";
constexpr std::string_view kNanoGpt = "nanoGPT";
constexpr std::string_view kDeepSpeed = "DeepSpeed";
constexpr std::string_view kNemo = "NeMo";
constexpr std::string_view kOlder = "another trainer";

constexpr std::array kForeign = std::to_array<ForeignName>({
    // Layout
    {"tensor_model_parallel_size", kMegatron, "parallelism.tp", ""},
    {"pipeline_model_parallel_size", kMegatron, "parallelism.pp", ""},
    {"data_parallel_size", kMegatron, "parallelism.dp", ""},
    {"num_layers_per_virtual_pipeline_stage", kMegatron, "parallelism.virtual_stages",
     "which counts chunks on a rank, not layers in a chunk"},
    {"virtual_pipeline_model_parallel_size", kMegatron, "parallelism.virtual_stages", ""},
    {"decoder_first_pipeline_num_layers", kMegatron, "parallelism.layers_per_stage", "as a list, one number a stage"},
    {"decoder_last_pipeline_num_layers", kMegatron, "parallelism.layers_per_stage", "as a list, one number a stage"},
    {"pipeline_model_parallel_layout", kMegatron, "parallelism.layers_per_stage", "as a list, one number a stage"},
    {"use_tp_pp_dp_mapping", kMegatron, "parallelism.rank_order", "tp-pp-dp"},
    {"use_distributed_optimizer", kMegatron, "parallelism.zero_stage", "1 shards the optimizer"},
    {"tensor_parallel_degree", kTitan, "parallelism.tp", ""},
    {"pipeline_parallel_degree", kTitan, "parallelism.pp", ""},
    {"data_parallel_degree", kTitan, "parallelism.dp", ""},
    {"data_parallel_replicate_degree", kTitan, "parallelism.dp", ""},
    {"data_parallel_shard_degree", kTitan, "parallelism.zero_stage", "0 or 1"},
    {"pipeline_parallel_schedule", kTitan, "parallelism.schedule", ""},
    {"pipeline_parallel_layers_per_stage", kTitan, "parallelism.layers_per_stage", "as a list, one number a stage"},
    {"pipeline_parallel_split_points", kTitan, "parallelism.layers_per_stage", "as a list, one number a stage"},
    {"pp_engine", kNanotron, "parallelism.schedule", ""},
    {"tensor_parallel_size", kDeepSpeed, "parallelism.tp", ""},
    {"pipeline_parallel_size", kDeepSpeed, "parallelism.pp", ""},
    {"zero_optimization", kDeepSpeed, "parallelism.zero_stage", "0 or 1"},
    {"partition_method", kDeepSpeed, "parallelism.layers_per_stage", "as a list, one number a stage"},
    {"virtual_pipeline", kOlder, "parallelism.virtual_stages", ""},
    // Batch and length
    {"seq_length", kMegatron, "training.sequence_length", ""},
    {"seq_len", kTitan, "training.sequence_length", ""},
    {"train_iters", kMegatron, "training.steps", ""},
    {"train_samples", kMegatron, "training.steps", "steps = samples / global_batch_size"},
    {"batch_accumulation_per_replica", kNanotron, "training.global_batch_size",
     "accumulation follows from global_batch_size, micro_batch_size and dp"},
    {"train_steps", kNanotron, "training.steps", ""},
    {"local_batch_size", kTitan, "training.micro_batch_size", ""},
    {"per_device_train_batch_size", kTransformers, "training.micro_batch_size", ""},
    {"gradient_accumulation_steps", kTransformers, "training.global_batch_size",
     "accumulation follows from global_batch_size, micro_batch_size and dp"},
    {"per_device_eval_batch_size", kTransformers, "evaluation.batches", "in global batches"},
    {"max_steps", kTransformers, "training.steps", ""},
    {"num_train_epochs", kTransformers, "training.tokens", "in tokens"},
    {"max_seq_length", kTransformers, "training.sequence_length", ""},
    {"max_iters", kNanoGpt, "training.steps", ""},
    {"block_size", kNanoGpt, "training.sequence_length", ""},
    {"batch_size", kNanoGpt, "training.global_batch_size", "in sequences over all ranks"},
    {"train_batch_size", kDeepSpeed, "training.global_batch_size", ""},
    {"train_micro_batch_size_per_gpu", kDeepSpeed, "training.micro_batch_size", ""},
    {"train_tokens", kOlder, "training.tokens", ""},
    // Model
    {"num_layers", kMegatron, "model.num_hidden_layers", ""},
    {"ffn_hidden_size", kMegatron, "model.intermediate_size", ""},
    {"num_query_groups", kMegatron, "model.num_key_value_heads", ""},
    {"kv_channels", kMegatron, "model.head_dim", ""},
    {"rotary_base", kMegatron, "model.rope_theta", ""},
    {"init_method_std", kMegatron, "model.initializer_range", ""},
    {"norm_epsilon", kMegatron, "model.rms_norm_eps", ""},
    {"layernorm_epsilon", kMegatron, "model.layer_norm_eps", ""},
    {"untie_embeddings_and_output_weights", kMegatron, "model.tie_word_embeddings", "with the opposite value"},
    {"padded_vocab_size", kMegatron, "model.vocab_size", "without padding"},
    {"make_vocab_size_divisible_by", kMegatron, "model.vocab_size", "padding is chosen by the program"},
    {"flavor", kTitan, "model.preset", ""},
    {"n_layer", kGpt2, "model.num_hidden_layers", ""},
    {"n_head", kGpt2, "model.num_attention_heads", ""},
    {"n_embd", kGpt2, "model.hidden_size", ""},
    {"n_inner", kGpt2, "model.intermediate_size", ""},
    {"n_positions", kGpt2, "model.max_position_embeddings", ""},
    {"n_ctx", kGpt2, "model.max_position_embeddings", ""},
    {"layer_norm_epsilon", kGpt2, "model.layer_norm_eps", ""},
    {"num_kv_heads", kTitan, "model.num_key_value_heads", ""},
    {"n_layers", "Llama (Meta)", "model.num_hidden_layers", ""},
    {"n_heads", "Llama (Meta)", "model.num_attention_heads", ""},
    {"n_kv_heads", "Llama (Meta)", "model.num_key_value_heads", ""},
    {"norm_eps", "Llama (Meta)", "model.rms_norm_eps", ""},
    {"max_seq_len", "Llama (Meta)", "model.max_position_embeddings", ""},
    {"d_model", "MPT", "model.hidden_size", ""},
    {"model_type", "Hugging Face config.json", "model.architecture", ""},
    {"dropout", kNanoGpt, "", "there is no dropout here; remove the line"},
    {"attention_dropout", kMegatron, "", "there is no dropout here; remove the line"},
    {"hidden_dropout", kMegatron, "", "there is no dropout here; remove the line"},
    {"rope_scaling", "Hugging Face Llama", "model.rope_theta", "scaled frequencies are not supported"},
    // Optimizer and schedule
    {"learning_rate", kTransformers, "optimizer.lr", ""},
    {"adam_beta1", kTransformers, "optimizer.betas", "as [beta1, beta2]"},
    {"adam_beta2", kTransformers, "optimizer.betas", "as [beta1, beta2]"},
    {"adam_epsilon", kTransformers, "optimizer.eps", ""},
    {"adam_eps", kMegatron, "optimizer.eps", ""},
    {"beta1", kNanoGpt, "optimizer.betas", "as [beta1, beta2]"},
    {"beta2", kNanoGpt, "optimizer.betas", "as [beta1, beta2]"},
    {"max_grad_norm", kTransformers, "training.clip_grad_norm", ""},
    {"max_norm", kTitan, "training.clip_grad_norm", ""},
    {"clip_grad", kMegatron, "training.clip_grad_norm", ""},
    {"grad_clip", kNanoGpt, "training.clip_grad_norm", ""},
    {"gradient_clipping", kDeepSpeed, "training.clip_grad_norm", ""},
    {"lr_decay_style", kMegatron, "lr_schedule.name", ""},
    {"lr_scheduler_type", kTransformers, "lr_schedule.name", ""},
    {"lr_warmup_iters", kMegatron, "lr_schedule.warmup_steps", ""},
    {"lr_warmup_steps", kNanotron, "lr_schedule.warmup_steps", ""},
    {"warmup_iters", kNanoGpt, "lr_schedule.warmup_steps", ""},
    {"warmup_ratio", kTransformers, "lr_schedule.warmup_steps", "in steps"},
    {"lr_decay_iters", kMegatron, "training.steps", "the schedule ends with the run"},
    {"lr_decay_steps", kNanotron, "training.steps", "the schedule ends with the run; wsd decays over its last fifth"},
    {"min_decay_lr", kNanotron, "lr_schedule.min_lr", ""},
    // Precision, recompute, device
    {"bf16", kMegatron, "precision.compute", "bf16"},
    {"fp16", kMegatron, "precision.compute", "fp16 is not supported; bf16 is"},
    {"fp8_format", kMegatron, "precision.fp8", "true is the hybrid format"},
    {"float8", kTitan, "precision.fp8", ""},
    {"dtype", kNanotron, "precision.compute", ""},
    {"mixed_precision_param", kTitan, "precision.compute", ""},
    {"recompute_granularity", kMegatron, "training.recompute", ""},
    {"activation_checkpoint", kTitan, "training.recompute", ""},
    {"activation_checkpointing", kDeepSpeed, "training.recompute", ""},
    {"gradient_checkpointing", kTransformers, "training.recompute", ""},
    {"recompute_layer", kNanotron, "training.recompute", ""},
    {"no_cuda", kTransformers, "device", "cpu"},
    // Data, tokenizer
    {"data_path", kMegatron, "data.train", ""},
    {"train_data_path", kMegatron, "data.train", ""},
    {"valid_data_path", kMegatron, "data.validation", ""},
    {"dataset_path", kTitan, "data.train", ""},
    {"dataset", kTitan, "data.train", ""},
    {"val", kOlder, "data.validation", ""},
    {"tokenizer_type", kMegatron, "tokenizer.kind", ""},
    {"tokenizer_model", kMegatron, "tokenizer.path", ""},
    {"tokenizer_name_or_path", kNanotron, "tokenizer.path", ""},
    {"tokenizer_path", kTitan, "tokenizer.path", ""},
    {"hf_assets_path", kTitan, "tokenizer.path", ""},
    // Run, checkpoint, evaluation, logging, faults
    {"experiment_name", kMegatron, "run.name", ""},
    {"run_name", kTransformers, "run.name", ""},
    {"project", kNanotron, "run.name", ""},
    {"output_dir", kTransformers, "run.dir", ""},
    {"out_dir", kNanoGpt, "run.dir", ""},
    {"dump_folder", kTitan, "run.dir", ""},
    {"save_interval", kMegatron, "checkpoint.interval_steps", ""},
    {"save_steps", kTransformers, "checkpoint.interval_steps", ""},
    {"checkpoint_interval", kNanotron, "checkpoint.interval_steps", ""},
    {"save_total_limit", kTransformers, "checkpoint.keep", ""},
    {"keep_latest_k", kTitan, "checkpoint.keep", ""},
    {"async_save", kMegatron, "checkpoint.async", ""},
    {"async_mode", kTitan, "checkpoint.async", ""},
    {"load", kMegatron, "checkpoint.resume", ""},
    {"resume_from_checkpoint", kTransformers, "checkpoint.resume", ""},
    {"resume_checkpoint_path", kNanotron, "checkpoint.resume", ""},
    {"resume_if_exists", kNemo, "checkpoint.resume", ""},
    {"eval_interval", kMegatron, "evaluation.interval_steps", ""},
    {"eval_iters", kMegatron, "evaluation.batches", ""},
    {"eval_steps", kTransformers, "evaluation.interval_steps", ""},
    {"val_check_interval", kNemo, "evaluation.interval_steps", ""},
    {"limit_val_batches", kNemo, "evaluation.batches", ""},
    {"eval", kOlder, "evaluation", ""},
    {"log_interval", kMegatron, "logging.interval_steps", ""},
    {"logging_steps", kTransformers, "logging.interval_steps", ""},
    {"iteration_step_info_interval", kNanotron, "logging.interval_steps", ""},
    {"log_freq", kTitan, "logging.interval_steps", ""},
    {"enable_tensorboard", kTitan, "logging.tensorboard", ""},
    {"tensorboard_dir", kMegatron, "logging.tensorboard", "true or false; files lie in the run's folder"},
    {"profile_step_start", kMegatron, "logging.trace_steps", "as [first, last]"},
    {"profile_step_end", kMegatron, "logging.trace_steps", "as [first, last]"},
    {"enable_profiling", kTitan, "logging.trace_steps", "as [first, last]"},
    {"profile_freq", kTitan, "logging.trace_steps", "as [first, last]"},
    {"prometheus_port", kOlder, "logging.status_port", ""},
    {"distributed_timeout_minutes", kMegatron, "fault.hang_timeout", "with a unit"},
    {"max_restart_count", kNemo, "fault.max_restarts", ""},
});

std::string normalised(std::string_view key) {
  key.remove_prefix(std::min(key.find_first_not_of('-'), key.size()));
  std::string out(key);
  for (char& c : out) {
    if (c == '-') c = '_';
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

}  // namespace

std::optional<ForeignName> find_foreign_name(std::string_view key) {
  const auto name = normalised(key);
  const auto it = std::find_if(kForeign.begin(), kForeign.end(), [&](const auto& entry) { return entry.name == name; });
  return it == kForeign.end() ? std::nullopt : std::optional(*it);
}

}  // namespace trident::config
