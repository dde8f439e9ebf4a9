#include "train/job_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace trident {
namespace {

Recompute recompute_of(config::Recompute recompute) {
  switch (recompute) {
    case config::Recompute::none: return Recompute::none;
    case config::Recompute::selective: return Recompute::selective;
    case config::Recompute::full: return Recompute::full;
  }
  return Recompute::none;
}

LrDecay decay_of(config::LrScheduleName name) {
  switch (name) {
    case config::LrScheduleName::constant: return LrDecay::constant;
    case config::LrScheduleName::linear: return LrDecay::linear;
    case config::LrScheduleName::cosine: return LrDecay::cosine;
    case config::LrScheduleName::wsd: return LrDecay::wsd;
  }
  return LrDecay::constant;
}

// The whole batch at once if that takes at most half of the memory, else halves of it.
int64_t fitting_micro_batch(const JobConfig& job) {
  const size_t budget = available_memory() / 2;
  int64_t size = job.training.global_batch_size;
  for (; size > 1; size = (size + 1) / 2) {
    EngineOptions options = engine_options(job);
    options.micro_batch_size = size;
    if (dry_run(job.model, options, Stream::meta()).memory.total() <= budget) break;
  }
  return size;
}

void require_one_rank(const JobConfig& job, int ranks) {
  const auto& layout = job.parallelism;
  const int64_t dp = layout.dp.value_or(1), tp = layout.tp.value_or(1), pp = layout.pp.value_or(1);
  const std::string remedy =
      "this version trains on one rank: start it once, with parallelism.dp=1 parallelism.tp=1 parallelism.pp=1";
  if (dp * tp * pp != ranks) {
    throw Error(ErrorCode::config, "parallelism",
                fmt::format("dp·tp·pp = {}·{}·{} = {}, but {} rank{} started", dp, tp, pp, dp * tp * pp, ranks,
                            ranks == 1 ? " was" : "s were"),
                remedy);
  }
  if (ranks != 1) throw Error(ErrorCode::config, "parallelism", fmt::format("{} ranks were started", ranks), remedy);
}

}  // namespace

DType compute_dtype(const JobConfig& job) {
  switch (job.precision.compute) {
    case config::Precision::fp64: return DType::fp64;
    case config::Precision::fp32: return DType::fp32;
    case config::Precision::bf16: return DType::bf16;
  }
  return DType::fp32;
}

LrSchedule lr_schedule(const JobConfig& job) {
  return {decay_of(job.lr_schedule.name), job.optimizer.lr, job.lr_schedule.min_lr, job.lr_schedule.warmup_steps,
          job.training.total_steps()};
}

AdamWOptions adamw_options(const JobConfig& job) {
  const auto& optimizer = job.optimizer;
  return {optimizer.betas[0], optimizer.betas[1], optimizer.eps, optimizer.weight_decay};
}

EngineOptions engine_options(const JobConfig& job) {
  return {compute_dtype(job), recompute_of(job.training.recompute.value_or(config::Recompute::none)),
          job.training.micro_batch_size.value_or(1), job.training.sequence_length};
}

JobConfig decide_auto(const JobConfig& job, int ranks) {
  if (job.device == config::Device::cuda) {
    throw Error(ErrorCode::config, "device", "device is cuda, but this build has no CUDA kernels",
                "set device: cpu or device: auto");
  }
  require_one_rank(job, ranks);
  JobConfig decided = job;
  decided.device = config::Device::cpu;
  auto& layout = decided.parallelism;
  layout.dp = layout.dp.value_or(1);
  layout.tp = layout.tp.value_or(1);
  layout.pp = layout.pp.value_or(1);
  layout.logical_shards = layout.logical_shards.value_or(layout.dp.value());
  if (decided.training.recompute.is_auto()) decided.training.recompute = config::Recompute::none;
  if (decided.training.threads.is_auto()) decided.training.threads = available_cpus();
  if (decided.training.micro_batch_size.is_auto()) decided.training.micro_batch_size = fitting_micro_batch(decided);
  return decided;
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
