#include "train/job_setup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "core/cuda_devices.h"
#include "parallel/comm/exchange_text.h"
#include "train/config/config.h"
#include "train/config/job_plan.h"
#include "train/config/keys.h"
#include "train/config/microbatch_split.h"

namespace trident {
namespace {

LrDecay decay_of(config::LrScheduleName name) {
  switch (name) {
    case config::LrScheduleName::constant: return LrDecay::constant;
    case config::LrScheduleName::linear: return LrDecay::linear;
    case config::LrScheduleName::cosine: return LrDecay::cosine;
    case config::LrScheduleName::wsd: return LrDecay::wsd;
  }
  return LrDecay::constant;
}

JobLayout job_layout(const JobConfig& job) {
  const auto& keys = job.parallelism;
  JobLayout layout;
  layout.mesh = mesh_of(job);
  layout.schedule.name = config::name_of(keys.schedule.value_or(config::PipelineSchedule::one_f_one_b));
  layout.schedule.virtual_stages = keys.virtual_stages.value_or(0);
  layout.schedule.ranks = layout.mesh.pp;
  layout.sequence_parallel = keys.sequence_parallel.value_or(true);
  layout.zero_stage = keys.zero_stage.value_or(1) == 0 ? ZeroStage::replicated : ZeroStage::optimizer_state;
  layout.reduction = keys.reduction == config::Reduction::exact ? ReductionKind::exact : ReductionKind::fast;
  layout.logical_shards = static_cast<int>(keys.logical_shards.value());
  layout.order = keys.rank_order;
  layout.microbatches = step_microbatches(job);
  const auto stages = static_cast<int32_t>(layout.mesh.pp * stages_per_rank(layout.schedule));
  if (keys.layers_per_stage)
    layout.layers_per_stage.assign(keys.layers_per_stage->begin(), keys.layers_per_stage->end());
  else if (stages > 1)
    layout.layers_per_stage = cut_by_cost(job.model, job.training.sequence_length, stages);
  return layout;
}

size_t needed_on(config::Device device, const MemoryEstimate& memory) {
  return device == config::Device::cuda ? memory.on_device() : memory.total();
}

/// What this node's ranks share: the system's memory or that of its GPUs.
size_t memory_for_ranks(config::Device device) {
  return device == config::Device::cuda ? available_gpu_memory() : available_memory();
}

config::Device decide_device(config::Device wanted) {
  if (wanted == config::Device::cpu) return wanted;
  if (!cuda_device_names().empty()) return config::Device::cuda;
  if (wanted == config::Device::automatic) return config::Device::cpu;
  throw Error(ErrorCode::config, "device", "device is cuda, but this process sees no GPU that this build can use",
              "`trident doctor` says what is there; device: auto takes the CPU where there is no GPU");
}

size_t needed_memory(const JobConfig& job) {
  const EngineOptions options = engine_options(job);
  const MeshShape& mesh = options.layout.mesh;
  size_t most = 0;
  for (int pp = 0; pp < mesh.pp; ++pp) {
    const int rank = mesh_rank(mesh, {0, 0, pp}, options.layout.order);
    most = std::max(most, needed_on(job.device, dry_run(job.model, options, rank, Stream::meta()).memory));
  }
  return most;
}

// As few microbatches as keep every stage busy, if they take at most half of the rank's share of the memory; else
// smaller ones.
int64_t fitting_micro_batch(JobConfig job, int ranks_here) {
  const size_t budget = memory_for_ranks(job.device) / 2 / static_cast<size_t>(ranks_here);
  const int64_t pp = job.parallelism.pp.value();
  const int64_t parts = job.parallelism.logical_shards.value() * (pp == 1 ? 1 : 4 * pp);
  int64_t size = std::max<int64_t>(1, job.training.global_batch_size / parts);
  for (; size > 1; size = (size + 1) / 2) {
    job.training.micro_batch_size = size;
    if (needed_memory(job) <= budget) break;
  }
  return size;
}

// Where the launcher binds ranks to processors of their own, each sees only those.
int64_t threads_of_a_rank(int ranks_here) {
  const int64_t mine = available_cpus(), online = sysconf(_SC_NPROCESSORS_ONLN);
  const bool bound = mine < online && mine * ranks_here <= online;
  return bound ? mine : std::max<int64_t>(1, mine / ranks_here);
}

}  // namespace

LrSchedule lr_schedule(const JobConfig& job) {
  return {decay_of(job.lr_schedule.name), job.optimizer.lr, job.lr_schedule.min_lr, job.lr_schedule.warmup_steps,
          job.training.total_steps()};
}

AdamWOptions adamw_options(const JobConfig& job) {
  const auto& optimizer = job.optimizer;
  return {optimizer.betas[0], optimizer.betas[1], optimizer.eps, optimizer.weight_decay};
}

EngineOptions engine_options(const JobConfig& job) {
  return {compute_dtype(job),
          recompute_of(job.training.recompute.value_or(config::Recompute::none)),
          job.training.micro_batch_size.value_or(1),
          job.training.sequence_length,
          job_layout(job),
          linear_precision(job)};
}

JobConfig decide_auto(const JobConfig& job, const LaunchEnvironment& launch) {
  JobConfig decided = job;
  decided.device = decide_device(job.device);
  auto& layout = decided.parallelism;
  layout.logical_shards = layout.logical_shards.value_or(layout.dp.value());
  layout.schedule = layout.schedule.value_or(config::PipelineSchedule::one_f_one_b);
  layout.virtual_stages = layout.virtual_stages.value_or(
      pipeline::stages_per_rank({.name = std::string(config::name_of(layout.schedule.value()))}));
  layout.sequence_parallel = layout.sequence_parallel.value_or(true);
  layout.zero_stage = layout.zero_stage.value_or(1);
  auto& training = decided.training;
  const int ranks_here = std::max(1, launch.local_size.value_or(std::max(1, launch.size)));
  if (training.recompute.is_auto()) training.recompute = config::Recompute::none;
  if (training.threads.is_auto()) training.threads = threads_of_a_rank(ranks_here);
  if (training.micro_batch_size.is_auto()) training.micro_batch_size = fitting_micro_batch(decided, ranks_here);
  return decided;
}

JobConfig agree_on_job(const JobConfig& job, const Communicator& world) {
  int64_t size[] = {job.training.micro_batch_size.value()};
  world.broadcast(std::span<int64_t>(size), 0);
  JobConfig agreed = job;
  agreed.training.micro_batch_size = size[0];
  JobConfig comparable = agreed;
  comparable.training.threads = 1;  // a node's own
  const std::string mine = to_yaml(comparable);
  if (broadcast_text(world, mine) == mine) return agreed;
  throw Error(
      ErrorCode::config, "job",
      fmt::format("rank {} on {} has read another job than rank 0", world.rank(), world.place(world.rank()).host),
      "give every rank the same job file and the same overrides");
}

Stream compute_stream(const JobConfig& job) {
  const int threads = static_cast<int>(job.training.threads.value());
  if (job.device != config::Device::cuda) return Stream::cpu(threads);
  const auto gpus = static_cast<int>(cuda_device_names().size());
  return Stream::cuda(detect_launch().local_rank.value_or(0) % std::max(1, gpus), threads);
}

size_t available_gpu_memory() {
  size_t bytes = 0;
  const auto gpus = static_cast<int>(cuda_device_names().size());
  for (int gpu = 0; gpu < gpus; ++gpu) bytes += cuda_memory(gpu).value_or(DeviceMemory{}).free;
  return bytes;
}

size_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  size_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib << 10;
    file.ignore(64, '\n');
  }
  return size_t{1} << 32;
}

}  // namespace trident
