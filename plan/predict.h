#pragma once

#include <optional>
#include <string>

#include "parallel/pipeline/simulate.h"
#include "plan/cluster_spec.h"
#include "plan/kernel_time.h"
#include "plan/layout.h"

namespace trident::plan {

/// How a pipeline's time is found.
enum class PipelineTime {
  closed_form,  ///< from the sums over stages: fast
  simulated,    ///< by the schedule's simulator with every stage's own times; long schedules by their period
};

/// A layout's step. The layout must be possible (see impossible()).
[[nodiscard]] LayoutPlan predict(const Workload& workload, const Layout& layout, const ClusterSpec& cluster,
                                 PipelineTime how = PipelineTime::simulated);

/// The same, where stages are cut and parts timed already: what a search does once for many layouts.
[[nodiscard]] LayoutPlan predict(const Workload& workload, const Layout& layout, const ClusterSpec& cluster,
                                 std::span<const int32_t> layers_per_stage, const PartTimes& parts, PipelineTime how);

/// Why the layout cannot run, whatever memory there is; nothing where it can.
[[nodiscard]] std::optional<std::string> impossible(const Workload& workload, const Layout& layout);

/// The costs of every stage, and of a transfer between ranks, in seconds.
[[nodiscard]] pipeline::SimulationCosts stage_costs(const Workload& workload, const Layout& layout,
                                                    const ClusterSpec& cluster,
                                                    std::span<const int32_t> layers_per_stage, const PartTimes& parts);

/// One step of the pipeline as the simulator has it, for a drawing.
struct PredictedStep {
  pipeline::Schedule schedule;
  pipeline::Simulation simulation;
};
[[nodiscard]] PredictedStep predict_pipeline(const Workload& workload, const Layout& layout,
                                             const ClusterSpec& cluster);

}  // namespace trident::plan
