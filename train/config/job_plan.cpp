#include "train/config/job_plan.h"

#include <algorithm>
#include <array>

#include "train/config/keys.h"

namespace trident {
namespace {

// Both lists are in the order of their enums.
constexpr std::array kRecomputes = {Recompute::none, Recompute::selective, Recompute::full};

template <class To, class From>
std::optional<To> given(const config::Auto<From>& value) {
  return value.is_auto() ? std::nullopt : std::optional<To>(static_cast<To>(value.value()));
}

config::PipelineSchedule schedule_of(const std::string& name) {
  const auto& names = config::kNames<config::PipelineSchedule>;
  return static_cast<config::PipelineSchedule>(std::find(names.begin(), names.end(), name) - names.begin());
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

LinearPrecision linear_precision(const JobConfig& job) {
  return job.precision.fp8 ? LinearPrecision::fp8 : LinearPrecision::compute;
}

Recompute recompute_of(config::Recompute recompute) { return kRecomputes.at(static_cast<size_t>(recompute)); }

MeshShape mesh_of(const JobConfig& job) {
  const auto& keys = job.parallelism;
  return {static_cast<int>(keys.dp.value()), static_cast<int>(keys.tp.value()), static_cast<int>(keys.pp.value())};
}

MeshShape mesh_of(const plan::Layout& layout) {
  return {static_cast<int>(layout.dp), static_cast<int>(layout.tp), static_cast<int>(layout.pp)};
}

plan::Workload workload_of(const JobConfig& job) {
  plan::Workload workload;
  workload.model = static_cast<const ModelConfig&>(job.model);
  workload.compute = compute_dtype(job);
  workload.linear = linear_precision(job);
  workload.sequence_length = job.training.sequence_length;
  workload.global_batch_size = job.training.global_batch_size;
  workload.reduction =
      job.parallelism.reduction == config::Reduction::exact ? ReductionKind::exact : ReductionKind::fast;
  workload.logical_shards = job.parallelism.logical_shards.value_or(0);
  if (const auto& cut = job.parallelism.layers_per_stage) workload.layers_per_stage.assign(cut->begin(), cut->end());
  return workload;
}

plan::SearchSpace search_space(const JobConfig& job, int64_t ranks) {
  const auto& keys = job.parallelism;
  plan::SearchSpace space;
  space.ranks = ranks;
  space.dp = given<int64_t>(keys.dp);
  space.tp = given<int64_t>(keys.tp);
  space.pp = given<int64_t>(keys.pp);
  space.virtual_stages = given<int64_t>(keys.virtual_stages);
  space.micro_batch_size = given<int64_t>(job.training.micro_batch_size);
  space.sequence_parallel = given<bool>(keys.sequence_parallel);
  space.zero_stage = given<int>(keys.zero_stage);
  space.order = keys.rank_order;
  if (!keys.schedule.is_auto()) space.schedule = std::string(config::name_of(keys.schedule.value()));
  if (!job.training.recompute.is_auto()) space.recompute = recompute_of(job.training.recompute.value());
  return space;
}

plan::Layout layout_of(const JobConfig& job) {
  const auto& keys = job.parallelism;
  plan::Layout layout;
  layout.dp = keys.dp.value();
  layout.tp = keys.tp.value();
  layout.pp = keys.pp.value();
  layout.schedule = config::name_of(keys.schedule.value());
  layout.virtual_stages = layout.schedule == "zb-v" ? 2 : keys.virtual_stages.value();
  layout.micro_batch_size = job.training.micro_batch_size.value();
  layout.recompute = recompute_of(job.training.recompute.value());
  layout.sequence_parallel = keys.sequence_parallel.value();
  layout.zero_stage = static_cast<int>(keys.zero_stage.value());
  layout.order = keys.rank_order;
  return layout;
}

JobConfig with_layout(JobConfig job, const plan::Layout& layout) {
  auto& keys = job.parallelism;
  keys.dp = layout.dp;
  keys.tp = layout.tp;
  keys.pp = layout.pp;
  keys.schedule = schedule_of(layout.schedule);
  keys.virtual_stages = layout.virtual_stages;
  keys.sequence_parallel = layout.sequence_parallel;
  keys.zero_stage = layout.zero_stage;
  job.training.micro_batch_size = layout.micro_batch_size;
  const auto recompute = std::find(kRecomputes.begin(), kRecomputes.end(), layout.recompute);
  job.training.recompute = static_cast<config::Recompute>(recompute - kRecomputes.begin());
  return job;
}

}  // namespace trident
