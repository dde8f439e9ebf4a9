#include "train/start_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/cuda_devices.h"
#include "core/log.h"
#include "train/job_setup.h"

namespace trident {
namespace {

double to_mib(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

void report_job(const JobConfig& job, const EngineOptions& options, const TrainingData& data, Device device) {
  const std::vector<std::string> gpus = cuda_device_names();
  if (device.kind == DeviceKind::cuda)
    log::info("device {}: {}, one of {} here", to_string(device), gpus.at(static_cast<size_t>(device.index)),
              gpus.size());
  else if (gpus.empty() && cuda_compiled_in())
    log::info("device cpu: CUDA shows this process no GPU");
  log::info("model {} | {:.2f}M parameters | {:.1f} MFLOP a token | {}", to_string(job.model.architecture),
            static_cast<double>(parameter_count(job.model)) / 1e6,
            flops_per_token(job.model, job.training.sequence_length) / 1e6,
            options.linear == LinearPrecision::fp8 ? "fp8 and bf16" : to_string(options.compute));
  log::info("data {} tokens, {} samples an epoch | {} samples a step in {} microbatches of {} × {} tokens",
            data.tokens(), data.samples_per_epoch(), job.training.global_batch_size, options.layout.microbatches,
            options.micro_batch_size, options.sequence_length);
}

void report_layout(const JobLayout& layout, const DeviceMesh& mesh) {
  if (mesh.world().size() == 1 || mesh.world().rank() != 0) return;
  std::string text =
      fmt::format("ranks {} | {} | neighbours differ in {}, then {}, then {} | {} per node", mesh.world().size(),
                  layout.mesh.to_string(), to_string(mesh.order()[0]), to_string(mesh.order()[1]),
                  to_string(mesh.order()[2]), fmt::join(mesh.ranks_per_node(), "+"));
  if (!layout.layers_per_stage.empty())
    text += fmt::format(" | {}, layers per stage {}", layout.schedule.name, fmt::join(layout.layers_per_stage, "+"));
  text += fmt::format(" | {} reduction over {} shards, ZeRO-{}",
                      layout.reduction == ReductionKind::exact ? "exact" : "fast", layout.logical_shards,
                      static_cast<int>(layout.zero_stage));
  log::info("{}", text);
  if (layout.reduction == ReductionKind::fast)
    log::info("reduction: fast sums in an order that depends on the number of ranks; exact does not");
}

void require_memory(const MemoryEstimate& planned, const DeviceMesh& mesh, const Stream& stream, int64_t threads) {
  const Communicator& world = mesh.world();
  const bool on_gpu = stream.device().kind == DeviceKind::cuda;
  const int64_t mine[] = {static_cast<int64_t>(planned.total()), static_cast<int64_t>(planned.on_device())};
  std::vector<int64_t> all(2 * static_cast<size_t>(world.size()));
  world.all_gather(std::span<const int64_t>(mine), std::span<int64_t>(all));
  int64_t of_node = 0, on_device = 0, most = 0;
  int largest = 0;
  for (int rank = 0; rank < world.size(); ++rank) {
    const int64_t total = all[2 * static_cast<size_t>(rank)], device = all[2 * static_cast<size_t>(rank) + 1];
    if (total > most) largest = rank;
    most = std::max(most, total);
    if (world.place(rank).node != world.place(world.rank()).node) continue;
    of_node += on_gpu ? total - device : total;
    on_device += device;
  }
  if (largest == world.rank()) {
    log::info(
        "memory {}{:.0f} MiB: parameters {:.0f}, gradients {:.0f}, optimizer {:.0f}, activations {:.0f}, "
        "communication {:.0f}, snapshots {:.0f}{} | {} threads",
        world.size() == 1 ? "" : "of the largest rank ", to_mib(planned.total()), to_mib(planned.parameters),
        to_mib(planned.gradients), to_mib(planned.optimizer), to_mib(planned.activations),
        to_mib(planned.communication), to_mib(planned.snapshots), on_gpu ? " (on the host)" : "", threads);
  }
  const auto require = [&](const char* where, int64_t needed, size_t available) {
    if (static_cast<size_t>(needed) <= available) return;
    throw Error(
        ErrorCode::config, "memory",
        fmt::format("the job's ranks on {} need {:.0f} MiB{}, of which {:.0f} are left", world.place(world.rank()).host,
                    to_mib(static_cast<size_t>(needed)), where, to_mib(available)),
        "lower training.micro_batch_size, set training.recompute: selective or full, or use more nodes");
  };
  if (on_gpu) require(" of the GPUs' memory", on_device, available_gpu_memory());
  require(" of memory", of_node, available_memory());
}

void report_memory(const MemoryEstimate& used, const MemoryEstimate& planned, const Communicator& world) {
  const int64_t mine[] = {static_cast<int64_t>(used.total())};
  std::vector<int64_t> all(static_cast<size_t>(world.size()));
  world.all_gather(std::span<const int64_t>(mine), std::span<int64_t>(all));
  if (std::max_element(all.begin(), all.end()) - all.begin() != world.rank()) return;
  const auto of = [](size_t found, size_t promised) {
    return fmt::format("{:.1f} of {:.1f}", to_mib(found), to_mib(promised));
  };
  log::info("memory used, of the planned MiB: parameters {}, gradients {}, optimizer {}, activations {}",
            of(used.parameters, planned.parameters), of(used.gradients, planned.gradients),
            of(used.optimizer, planned.optimizer), of(used.activations, planned.activations));
}

}  // namespace trident
