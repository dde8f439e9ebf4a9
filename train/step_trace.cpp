#include "train/step_trace.h"

#include <fmt/format.h>

#include <chrono>
#include <vector>

#include "core/atomic_file.h"
#include "core/log.h"
#include "parallel/pipeline/render.h"
#include "parallel/pipeline/simulate.h"

namespace trident {
namespace {

using pipeline::Op;
using pipeline::Timeline;

// Rank 0's moment as every rank's origin.
std::chrono::steady_clock::time_point common_origin(const Communicator& world) {
  using std::chrono::system_clock;
  int64_t now[] = {std::chrono::nanoseconds(system_clock::now().time_since_epoch()).count()};
  world.broadcast(std::span<int64_t>(now), 0);
  const auto since_epoch = std::chrono::duration_cast<system_clock::duration>(std::chrono::nanoseconds(now[0]));
  return pipeline::on_this_clock(system_clock::time_point(since_epoch));
}

// Seconds that the stages of this rank took for all recorded forwards, input and weight gradients, and how many these
// were: six numbers a stage. A whole backward counts as half input, half weight gradient.
std::vector<double> sums_by_stage(const Timeline& timeline, int32_t stages) {
  std::vector<double> sums(static_cast<size_t>(stages) * 6);
  for (const Timeline::Event& event : timeline.events()) {
    if (event.kind != Timeline::Kind::action || event.end == Timeline::kUnfinished || !is_compute(event.action.op))
      continue;
    const double seconds = static_cast<double>(event.end - event.begin) * 1e-9;
    double* sum = sums.data() + static_cast<size_t>(event.action.stage) * 6;
    const auto add = [&](size_t which, double part) { sum[2 * which] += part, sum[2 * which + 1] += 1; };
    if (event.action.op == Op::forward) add(0, seconds);
    if (event.action.op == Op::backward) add(1, seconds / 2), add(2, seconds / 2);
    if (event.action.op == Op::backward_input) add(1, seconds);
    if (event.action.op == Op::backward_weight) add(2, seconds);
  }
  return sums;
}

pipeline::SimulationCosts measured_costs(const Timeline& timeline, const Communicator& pp, int32_t stages) {
  std::vector<double> sums = sums_by_stage(timeline, stages);
  pp.all_reduce(std::span<double>(sums));
  pipeline::SimulationCosts costs;
  costs.stages.clear();
  for (int32_t stage = 0; stage < stages; ++stage) {
    const double* sum = sums.data() + static_cast<size_t>(stage) * 6;
    const auto mean = [&](size_t which) { return sum[2 * which + 1] > 0 ? sum[2 * which] / sum[2 * which + 1] : 0.0; };
    costs.stages.push_back({mean(0), mean(1), mean(2)});
  }
  return costs;
}

}  // namespace

/// Passes on to the sink that was there before the timeline.
class StepTrace::Tee final : public ProgressSink {
 public:
  Tee(ProgressSink& first, ProgressSink& second) : first_(first), second_(second) {}
  void entered(const ProgressRecord& record) override { first_.entered(record), second_.entered(record); }
  void left(const ProgressRecord& record) override { first_.left(record), second_.left(record); }
  void waits(const ProgressRecord& record) override { first_.waits(record), second_.waits(record); }
  void waited(const ProgressRecord& record) override { first_.waited(record), second_.waited(record); }

 private:
  ProgressSink& first_;
  ProgressSink& second_;
};

StepTrace::StepTrace(const std::optional<std::array<int64_t, 2>>& steps, const Communicator& world) : world_(world) {
  if (!steps) return;
  steps_ = *steps;
  timeline_.emplace(pipeline::TimelineOptions{.origin = common_origin(world)});
  before_ = world_.options().sink;
  if (before_ != nullptr) tee_ = std::make_unique<Tee>(*before_, *timeline_);
  world_.set_progress_sink(tee_ ? static_cast<ProgressSink*>(tee_.get()) : &*timeline_);
}

StepTrace::~StepTrace() {
  if (timeline_) world_.set_progress_sink(before_);
}

void StepTrace::begin(int64_t step) {
  if (step == steps_[0]) timeline_->start();
}

void StepTrace::end(int64_t step, const RunDirectory& run, const DeviceMesh& mesh, const pipeline::Schedule& schedule) {
  if (step != steps_[1]) return;
  timeline_->stop();
  write(run, mesh, schedule);
}

void StepTrace::write(const RunDirectory& run, const DeviceMesh& mesh, const pipeline::Schedule& schedule) {
  const MeshCoordinates at = mesh.coordinates();
  const int rank = mesh.world().rank();
  write_chrome_trace(run.trace() / fmt::format("rank_{:05}.json", rank), *timeline_,
                     {rank, schedule.stages_of(at.pp), fmt::format("dp {}, tp {}, pp {}", at.dp, at.tp, at.pp)});
  const auto costs = measured_costs(*timeline_, mesh.axis(Axis::pp), schedule.stages());
  if (rank != 0) return;
  // The simulator's unit is the costs': seconds.
  write_file_atomically(run.trace() / "simulated.json", to_chrome_trace(schedule, simulate(schedule, costs), 1e6));
  log::info("timelines of steps {} to {} in {}: open them in Perfetto", steps_[0], steps_[1], run.trace().string());
}

}  // namespace trident
