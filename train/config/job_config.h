#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/model_config.h"
#include "parallel/comm/device_mesh.h"
#include "train/config/auto.h"

// The job file as values: one struct per section, one member per key, with the key's default.
// train/config/keys.h describes each key (meaning, example, range).

namespace trident::config {

enum class Device { automatic, cpu, cuda };
enum class TokenizerKind { byte, gpt2_bpe, huggingface };
enum class PipelineSchedule { gpipe, one_f_one_b, interleaved, zb_h1, zb_v };
enum class Reduction { exact, fast };
enum class Recompute { none, selective, full };
enum class Precision { fp64, fp32, bf16 };
enum class OptimizerName { adamw };
enum class LrScheduleName { constant, linear, cosine, wsd };

/// What a checkpoint does that is due while storage still writes the two before it.
enum class WhenBehind { skip, wait };

/// A span of time, written `0.25s`, `30m`, `2h`.
struct Seconds {
  double value = 0;
  bool operator==(const Seconds&) const = default;
};

/// Where to start: `auto` (the newest checkpoint, if any), `never`, a step, or a checkpoint's path.
struct Resume {
  enum class Kind { automatic, never, step, path };
  Kind kind = Kind::automatic;
  int64_t step = 0;
  std::string path;
  bool operator==(const Resume&) const = default;
};

struct RunSection {
  std::string name = "run";
  std::string dir = "runs";
  int64_t seed = 1234;
  bool operator==(const RunSection&) const = default;
};

/// The model's shape, as the model takes it, and the preset that it started from.
struct ModelSection : ModelConfig {
  std::optional<std::string> preset;
  bool operator==(const ModelSection&) const = default;
};

struct TokenizerSection {
  TokenizerKind kind = TokenizerKind::byte;
  std::optional<std::string> path;
  bool operator==(const TokenizerSection&) const = default;
};

struct DataSource {
  std::string path;  ///< prefix of a .bin/.idx pair
  double weight = 1.0;
  bool operator==(const DataSource&) const = default;
};

struct DataSection {
  std::vector<DataSource> train;
  std::optional<std::string> validation;
  bool shuffle = true;
  bool operator==(const DataSection&) const = default;
};

struct ParallelismSection {
  Auto<int64_t> dp = 1;
  Auto<int64_t> tp = 1;
  Auto<int64_t> pp = 1;
  Auto<PipelineSchedule> schedule = PipelineSchedule::one_f_one_b;
  Auto<int64_t> virtual_stages = 1;
  std::optional<std::vector<int64_t>> layers_per_stage;  ///< of all stages in order; none: cut by cost
  MeshOrder rank_order = kDefaultMeshOrder;
  Auto<bool> sequence_parallel = true;
  Auto<int64_t> zero_stage = 1;
  Reduction reduction = Reduction::exact;
  Auto<int64_t> logical_shards;

  /// `parallelism: auto`: everything that the planner searches.
  void set_auto() { dp = tp = pp = virtual_stages = zero_stage = {}, schedule = {}, sequence_parallel = {}; }
  bool operator==(const ParallelismSection&) const = default;
};

struct TrainingSection {
  int64_t sequence_length = 0;
  int64_t global_batch_size = 16;
  Auto<int64_t> micro_batch_size = 1;
  std::optional<int64_t> steps;
  std::optional<int64_t> tokens;
  std::optional<int64_t> stop_after;
  Auto<Recompute> recompute = Recompute::none;
  double clip_grad_norm = 1.0;
  Auto<int64_t> threads;
  bool operator==(const TrainingSection&) const = default;

  /// Optimizer steps of the whole run: `steps`, or those that cover `tokens`.
  [[nodiscard]] int64_t total_steps() const;
};

struct PrecisionSection {
  Precision compute = Precision::fp32;
  bool fp8 = false;
  bool deterministic = true;
  bool operator==(const PrecisionSection&) const = default;
};

struct OptimizerSection {
  OptimizerName name = OptimizerName::adamw;
  double lr = 3e-4;
  std::array<double, 2> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;
  bool operator==(const OptimizerSection&) const = default;
};

struct LrScheduleSection {
  LrScheduleName name = LrScheduleName::cosine;
  int64_t warmup_steps = 0;
  double min_lr = 0;
  bool operator==(const LrScheduleSection&) const = default;
};

struct CheckpointSection {
  int64_t interval_steps = 100;     ///< 0: only at the end
  std::optional<Seconds> interval;  ///< wall time; with both, whichever comes first
  int64_t keep = 3;                 ///< 0: all
  int64_t keep_every_steps = 0;     ///< older ones at multiples of it are kept too; 0: none
  WhenBehind when_behind = WhenBehind::skip;
  bool async = true;
  Resume resume;
  std::optional<std::string> weights;  ///< of a model to start from where there is nothing to resume
  bool operator==(const CheckpointSection&) const = default;
};

struct EvaluationSection {
  int64_t interval_steps = 100;  ///< 0: never
  int64_t batches = 20;
  bool operator==(const EvaluationSection&) const = default;
};

struct LoggingSection {
  int64_t interval_steps = 1;
  bool tensorboard = true;
  std::optional<std::string> sample_prompt;
  int64_t sample_interval_steps = 0;  ///< 0: no samples
  int64_t sample_tokens = 100;
  std::optional<std::array<int64_t, 2>> trace_steps;  ///< first and last step, counted from 1
  Auto<int64_t> status_port;                          ///< auto: any that is free; 0: no status server
  std::string status_address = "127.0.0.1";
  bool operator==(const LoggingSection&) const = default;
};

struct FaultSection {
  Seconds heartbeat = {0.25};
  Seconds node_timeout = {3};
  Auto<Seconds> hang_timeout;
  bool compare_collectives = false;
  int64_t max_restarts = 20;
  int64_t min_ranks = 1;
  int64_t snapshot_interval_steps = 1;
  int64_t check_replicas_steps = 100;  ///< 0: never
  bool operator==(const FaultSection&) const = default;
};

}  // namespace trident::config

namespace trident {

/// A validated job: every key has its value, except those that are `auto` until the machine or a planner decides.
struct JobConfig {
  int64_t schema = 1;
  config::RunSection run;
  config::Device device = config::Device::automatic;
  config::ModelSection model;
  config::TokenizerSection tokenizer;
  config::DataSection data;
  config::ParallelismSection parallelism;
  config::TrainingSection training;
  config::PrecisionSection precision;
  config::OptimizerSection optimizer;
  config::LrScheduleSection lr_schedule;
  config::CheckpointSection checkpoint;
  config::EvaluationSection evaluation;
  config::LoggingSection logging;
  config::FaultSection fault;
  bool operator==(const JobConfig&) const = default;
};

}  // namespace trident
