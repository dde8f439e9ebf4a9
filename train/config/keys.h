#pragma once

#include <array>
#include <concepts>
#include <limits>
#include <string_view>
#include <type_traits>

#include "train/config/job_config.h"

// The one description of the job file. Reading, checking, printing, origins, suggestions and the JSON Schema are
// visitors over it; a new key is one member in job_config.h and one line here.
//
// A visitor has  v(name, value, Key)        for a key, and
//                v.section(name, struct, help, example)  for a mapping of keys.

namespace trident::config {

struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool open_min = false;  ///< min itself is excluded
  bool open_max = false;
};

constexpr Range at_least(double min) { return {.min = min}; }
constexpr Range above(double min) { return {.min = min, .open_min = true}; }
constexpr Range between(double min, double max) { return {.min = min, .max = max}; }
constexpr Range unit_interval() { return {.min = 0, .max = 1, .open_max = true}; }

enum class Presence {
  defaulted,  ///< may be left out
  required,   ///< must be given, by the file or a preset
  derived,    ///< left out or `auto`: computed from other keys
};

struct Key {
  std::string_view help;
  std::string_view example;
  Range range{};
  Presence presence = Presence::defaulted;
  bool counts = false;         ///< human numbers such as 1.5M and 100B are read
  std::string_view also = {};  ///< a second name
};

/// Names of an enumeration's values, in order.
template <class E>
inline constexpr std::array<std::string_view, 0> kNames{};
template <>
inline constexpr std::array kNames<Architecture> = std::to_array<std::string_view>({"llama", "gpt2"});
template <>
inline constexpr std::array kNames<Device> = std::to_array<std::string_view>({"auto", "cpu", "cuda"});
template <>
inline constexpr std::array kNames<TokenizerKind> = std::to_array<std::string_view>({"byte", "gpt2-bpe",
                                                                                     "huggingface"});
template <>
inline constexpr std::array kNames<PipelineSchedule> = std::to_array<std::string_view>({"gpipe", "1f1b", "interleaved",
                                                                                        "zb-h1", "zb-v"});
template <>
inline constexpr std::array kNames<Reduction> = std::to_array<std::string_view>({"exact", "fast"});
template <>
inline constexpr std::array kNames<Recompute> = std::to_array<std::string_view>({"none", "selective", "full"});
template <>
inline constexpr std::array kNames<Precision> = std::to_array<std::string_view>({"fp64", "fp32", "bf16"});
template <>
inline constexpr std::array kNames<OptimizerName> = std::to_array<std::string_view>({"adamw"});
template <>
inline constexpr std::array kNames<WhenBehind> = std::to_array<std::string_view>({"skip", "wait"});
template <>
inline constexpr std::array kNames<LrScheduleName> = std::to_array<std::string_view>({"constant", "linear", "cosine",
                                                                                      "wsd"});

template <class E>
std::string_view name_of(E value) {
  return kNames<E>.at(static_cast<std::size_t>(value));
}

template <class C, class S>
concept Like = std::same_as<std::remove_const_t<C>, S>;

template <class V, Like<RunSection> C>
void visit(V& v, C& c) {
  v("name", c.name, {"names the run's folder; default: the job file's name", "smoke", {}, Presence::derived});
  v("dir", c.dir, {"folder that holds the runs", "runs"});
  v("seed", c.seed, {"seed of initial weights and sample order", "1234", at_least(0)});
}

template <class V, Like<ModelSection> C>
void visit(V& v, C& c) {
  constexpr double kMaxSize = 1 << 24;
  constexpr auto kSize = between(1, kMaxSize);
  v("preset", c.preset, {"published sizes to start from; other keys override them", "llama-tiny"});
  v("architecture", c.architecture, {"model family", "llama"});
  v("hidden_size", c.hidden_size, {"width of the residual stream", "128", kSize, Presence::required});
  v("intermediate_size", c.intermediate_size,
    {"width inside the feed-forward layer; default: 8/3 (llama) or 4 (gpt2) times hidden_size", "352", kSize,
     Presence::derived});
  v("num_hidden_layers", c.num_hidden_layers, {"transformer layers", "4", between(1, 10000), Presence::required});
  v("num_attention_heads", c.num_attention_heads, {"query heads", "4", between(1, 65536), Presence::required});
  v("num_key_value_heads", c.num_key_value_heads,
    {"key and value heads; default: num_attention_heads", "2", between(1, 65536), Presence::derived});
  v("head_dim", c.head_dim,
    {"width of one head; default: hidden_size / num_attention_heads", "32", between(1, 65536), Presence::derived});
  v("vocab_size", c.vocab_size, {"rows of the embedding; default: the tokenizer's", "256", kSize, Presence::derived});
  v("max_position_embeddings", c.max_position_embeddings,
    {"longest sequence; default: training.sequence_length", "256", kSize, Presence::derived});
  v("rms_norm_eps", c.norm_eps,
    {"epsilon of RMSNorm (llama) and LayerNorm (gpt2)", "1.0e-5", above(0), Presence::defaulted, false,
     "layer_norm_eps"});
  v("rope_theta", c.rope_theta, {"base of the rotary embedding", "10000.0", above(0)});
  v("tie_word_embeddings", c.tie_word_embeddings,
    {"share embedding and head; default: false (llama), true (gpt2)", "false", {}, Presence::derived});
  v("initializer_range", c.initializer_range, {"standard deviation of initial weights", "0.02", above(0)});
}

template <class V, Like<TokenizerSection> C>
void visit(V& v, C& c) {
  v("kind", c.kind, {"how text becomes token ids", "byte"});
  v("path", c.path, {"the tokenizer's file or folder", "tok/tokenizer.json"});
}

template <class V, Like<DataSource> C>
void visit(V& v, C& c) {
  v("path", c.path, {"prefix of a .bin/.idx pair", "data/kjv", {}, Presence::required});
  v("weight", c.weight, {"share of the samples drawn from here, relative to the others", "1.0", above(0)});
}

template <class V, Like<DataSection> C>
void visit(V& v, C& c) {
  v("train", c.train,
    {"training data: a prefix, a list of prefixes, or a list of {path, weight}",
     "[{path: data/kjv, weight: 1.0}]",
     {},
     Presence::required});
  v("validation", c.validation, {"prefix of the data that evaluation reads", "data/kjv-val"});
  v("shuffle", c.shuffle, {"false: sample i is tokens [i*L, i*L+L], in file order", "true"});
}

template <class V, Like<ParallelismSection> C>
void visit(V& v, C& c) {
  constexpr auto kRanks = between(1, 1 << 20);
  v("dp", c.dp, {"data-parallel replicas", "2", kRanks});
  v("tp", c.tp, {"tensor-parallel ranks", "1", kRanks});
  v("pp", c.pp, {"pipeline stages", "2", kRanks});
  v("schedule", c.schedule, {"pipeline schedule", "1f1b"});
  v("virtual_stages", c.virtual_stages,
    {"model chunks on each pipeline rank; default: 2 for interleaved and zb-v, otherwise 1", "2", between(1, 1024)});
  v("layers_per_stage", c.layers_per_stage,
    {"layers of each of the pp * virtual_stages stages, in order; default: cut by cost", "[2, 2]", between(1, 10000),
     Presence::derived});
  v("rank_order", c.rank_order,
    {"the axes from the one along which neighbouring ranks differ to the slowest", "tp-dp-pp"});
  v("sequence_parallel", c.sequence_parallel, {"where tp > 1: split norms along the sequence", "true"});
  v("zero_stage", c.zero_stage, {"0: every replica keeps the optimizer; 1: sharded", "1", between(0, 1)});
  v("reduction", c.reduction, {"exact: the same bits for any dp and pp", "exact"});
  v("logical_shards", c.logical_shards,
    {"pieces in which the global batch is summed; auto: the dp of the run's first start", "auto", kRanks});
}

template <class V, Like<TrainingSection> C>
void visit(V& v, C& c) {
  v("sequence_length", c.sequence_length,
    {"tokens of one sample; default: model.max_position_embeddings", "128", between(1, 1 << 24), Presence::derived});
  v("global_batch_size", c.global_batch_size, {"sequences of one step, over all ranks", "16", between(1, 1 << 24)});
  v("micro_batch_size", c.micro_batch_size,
    {"sequences that one rank works on at once; default: a replica's share, at most 8", "2", between(1, 1 << 24)});
  v("steps", c.steps, {"optimizer steps; or tokens, not both", "500", between(0, 1e15), Presence::defaulted, true});
  v("tokens", c.tokens,
    {"tokens to train on; or steps, not both", "100B", between(1, 1e18), Presence::defaulted, true});
  v("stop_after", c.stop_after,
    {"ends this invocation after that step; schedules still see all steps", "200", between(0, 1e15),
     Presence::defaulted, true});
  v("recompute", c.recompute, {"activations computed again in the backward pass", "none"});
  v("clip_grad_norm", c.clip_grad_norm, {"largest global gradient norm; 0: no clipping", "1.0", at_least(0)});
  v("threads", c.threads, {"compute threads of one rank", "auto", between(1, 4096)});
}

template <class V, Like<PrecisionSection> C>
void visit(V& v, C& c) {
  v("compute", c.compute, {"arithmetic of forward and backward; master weights are fp32 (fp64 for fp64)", "fp32"});
  v("fp8", c.fp8,
    {"multiply the blocks' matrices in fp8 (e4m3, gradients e5m2), on GPUs of compute capability 8.9 or later; with "
     "compute: bf16",
     "true"});
  v("deterministic", c.deterministic,
    {"the same bits every time; false lets GPUs add in any order where that is faster (cuDNN's attention)", "false"});
}

template <class V, Like<OptimizerSection> C>
void visit(V& v, C& c) {
  v("name", c.name, {"optimizer", "adamw"});
  v("lr", c.lr, {"peak learning rate", "1.0e-3", above(0)});
  v("betas", c.betas, {"decay of the two moments", "[0.9, 0.95]", unit_interval()});
  v("eps", c.eps, {"added to the root of the second moment", "1.0e-8", above(0)});
  v("weight_decay", c.weight_decay, {"decoupled weight decay", "0.1", at_least(0)});
}

template <class V, Like<LrScheduleSection> C>
void visit(V& v, C& c) {
  v("name", c.name, {"course of the learning rate after warm-up; wsd decays over the last fifth", "cosine"});
  v("warmup_steps", c.warmup_steps, {"steps of linear warm-up", "50", between(0, 1e15), Presence::defaulted, true});
  v("min_lr", c.min_lr, {"learning rate at the end", "1.0e-4", at_least(0)});
}

template <class V, Like<CheckpointSection> C>
void visit(V& v, C& c) {
  v("interval_steps", c.interval_steps,
    {"steps between checkpoints; 0: only at the end", "100", between(0, 1e15), Presence::derived});
  v("interval", c.interval, {"time between checkpoints", "30m", above(0)});
  v("keep", c.keep, {"newest checkpoints kept; 0: all", "3", between(0, 1e9)});
  v("keep_every_steps", c.keep_every_steps,
    {"older checkpoints at multiples of it are kept too; 0: none", "1000", between(0, 1e15)});
  v("when_behind", c.when_behind,
    {"a checkpoint that is due while storage still writes the two before it: skip, or make training wait", "skip"});
  v("async", c.async, {"write while training goes on", "true"});
  v("resume", c.resume, {"auto, never, a step, or a checkpoint's path", "auto"});
  v("weights", c.weights,
    {"model to start from where there is nothing to resume: a run, a checkpoint or a Hugging Face directory", "gpt2/"});
}

template <class V, Like<EvaluationSection> C>
void visit(V& v, C& c) {
  v("interval_steps", c.interval_steps, {"steps between evaluations; 0: never", "100", between(0, 1e15)});
  v("batches", c.batches, {"global batches of one evaluation", "20", between(1, 1e9)});
}

template <class V, Like<LoggingSection> C>
void visit(V& v, C& c) {
  v("interval_steps", c.interval_steps, {"steps between lines of the log", "1", between(1, 1e15)});
  v("tensorboard", c.tensorboard, {"write TensorBoard event files", "true"});
  v("sample_prompt", c.sample_prompt, {"text that samples in the log continue", "\"In the beginning\""});
  v("sample_interval_steps", c.sample_interval_steps,
    {"steps between samples, 0: none; default: evaluation.interval_steps where sample_prompt is given", "500",
     between(0, 1e15), Presence::derived});
  v("sample_tokens", c.sample_tokens, {"tokens of one sample", "100", between(1, 1 << 20)});
  v("trace_steps", c.trace_steps,
    {"first and last step, counted from 1, whose measured timeline is written to <run>/trace/", "[10, 12]",
     between(1, 1e15)});
  v("status_port", c.status_port,
    {"port of trident launch's page, /metrics, /healthz and /api/state; auto: any that is free; 0: none", "9464",
     between(0, 65535)});
  v("status_address", c.status_address,
    {"address that it listens at; what is not loopback lets others read the run's state", "127.0.0.1"});
}

template <class V, Like<FaultSection> C>
void visit(V& v, C& c) {
  v("heartbeat", c.heartbeat, {"time between signs of life", "0.25s", above(0)});
  v("node_timeout", c.node_timeout, {"silence after which a node counts as lost", "3s", above(0)});
  v("hang_timeout", c.hang_timeout, {"lack of progress after which a rank counts as hung", "auto", above(0)});
  v("compare_collectives", c.compare_collectives,
    {"compare the history of each group's collective calls at every call: finds the first at which ranks differ",
     "true"});
  v("max_restarts", c.max_restarts, {"restarts before giving up", "20", between(0, 1e9)});
  v("min_ranks", c.min_ranks, {"fewest ranks to go on with", "1", between(1, 1 << 20)});
  v("snapshot_interval_steps", c.snapshot_interval_steps,
    {"steps between snapshots in memory; 0: none", "1", between(0, 1e15)});
  v("check_replicas_steps", c.check_replicas_steps,
    {"steps between comparisons of what must be equal: ranks' copies of weights, state and snapshot; 0: never", "100",
     between(0, 1e15)});
}

template <class V, Like<JobConfig> C>
void visit(V& v, C& c) {
  v("schema", c.schema, {"version of the job file's format", "1", between(1, 1)});
  v.section("run", c.run, "the run's name, folder and seed", "{name: smoke}");
  v("device", c.device, {"where ranks compute", "auto"});
  v.section("model", c.model, "the model, in the keys of Hugging Face's Llama", "{preset: llama-tiny}");
  v.section("tokenizer", c.tokenizer, "how text becomes token ids", "{kind: byte}");
  v.section("data", c.data, "what is trained and evaluated on", "{train: data/kjv}");
  v.section("parallelism", c.parallelism, "how ranks share the work; `auto`: the planner's first choice",
            "{dp: 2, pp: 2}");
  v.section("training", c.training, "batch, length and memory", "{steps: 500}");
  v.section("precision", c.precision, "number formats", "{compute: fp32}");
  v.section("optimizer", c.optimizer, "the optimizer", "{lr: 1.0e-3}");
  v.section("lr_schedule", c.lr_schedule, "the learning rate over time", "{name: cosine, warmup_steps: 50}");
  v.section("checkpoint", c.checkpoint, "saving and resuming", "{interval_steps: 100}");
  v.section("evaluation", c.evaluation, "loss on the validation data", "{interval_steps: 100}");
  v.section("logging", c.logging, "what is written while training", "{interval_steps: 1}");
  v.section("fault", c.fault, "detection of and recovery from faults", "{max_restarts: 20}");
}

}  // namespace trident::config
