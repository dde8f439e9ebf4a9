#include "train/config/decide_mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "plan/search.h"
#include "train/config/complete.h"
#include "train/config/job_plan.h"
#include "train/config/reading.h"
#include "train/config/shell_word.h"

namespace trident {
namespace {

using config::Diagnostics;
using config::Reading;
using config::Source;

Reading reading_of(const ResolvedOrigins& origins, Diagnostics& diagnostics) {
  for (const Source& source : origins.sources) diagnostics.add_source(source.name, source.text);
  if (origins.sources.empty()) diagnostics.add_source("job", "");
  return {diagnostics, {}, origins.places, {}, {}, {}};
}

void set_mesh(JobConfig& job, const MeshShape& shape, const ResolvedOrigins& origins) {
  job.parallelism.dp = shape.dp;
  job.parallelism.tp = shape.tp;
  job.parallelism.pp = shape.pp;
  auto& size = job.training.micro_batch_size;
  if (!size.is_auto() && !origins.places.contains("training.micro_batch_size")) {
    size = config::default_micro_batch_size(job);
  }
}

/// The nearest mesh of the ranks that the job's other keys allow.
std::optional<MeshShape> nearest_legal_mesh(const JobConfig& job, const ResolvedOrigins& origins, const MeshShape& wish,
                                            int ranks) {
  return nearest_mesh(wish, ranks, [&](const MeshShape& shape) {
    if (!tensor_parallel_problems(job.model, shape.tp).empty()) return false;
    JobConfig trial = job;
    set_mesh(trial, shape, origins);
    Diagnostics diagnostics;
    Reading reading = reading_of(origins, diagnostics);
    check_layout(trial, reading);
    return !diagnostics.failed();
  });
}

StartCommand command_of(LaunchEnvironment::Launcher launcher) {
  return {launcher == LaunchEnvironment::Launcher::slurm ? "srun -n" : "mpirun -n", " trident train"};
}

/// The command that starts this job on `ranks` ranks.
std::string command(const ResolvedOrigins& origins, int64_t ranks, const StartCommand& start) {
  std::string text = fmt::format("{} {}{}", start.before, ranks, start.after);
  // The first source is the file, the others are the arguments.
  for (size_t i = 0; i < origins.sources.size(); ++i) {
    text += ' ' + shell_word(i == 0 ? origins.sources[i].name : origins.sources[i].text);
  }
  return text;
}

class MeshDecision {
 public:
  MeshDecision(JobConfig job, const ResolvedOrigins& origins, const LaunchEnvironment& launch,
               const plan::ClusterSpec* cluster, StartCommand start)
      : job_(std::move(job)),
        origins_(origins),
        launch_(launch),
        cluster_(cluster),
        start_(std::move(start)),
        reading_(reading_of(origins, diagnostics_)) {}

  JobConfig run() {
    if (cluster_ != nullptr && job_.parallelism.schedule.is_auto() && !is_another_mesh()) {
      take_best_layout();
      diagnostics_.throw_if_failed();
      return std::move(job_);
    }
    const auto& layout = job_.parallelism;
    const int64_t tp = layout.tp.value_or(1), pp = layout.pp.value_or(1), others = tp * pp;
    const int64_t dp = layout.dp.value_or(launch_.size / others);
    const MeshShape shape{static_cast<int>(std::max<int64_t>(dp, 1)), static_cast<int>(tp), static_cast<int>(pp)};
    if (dp * others != launch_.size) {
      refuse(shape);
    } else {
      set_mesh(job_, shape, origins_);
      check_layout(job_, reading_);
    }
    diagnostics_.throw_if_failed();
    return std::move(job_);
  }

 private:
  // All of the mesh is given, and of another number of ranks.
  [[nodiscard]] bool is_another_mesh() const {
    const auto& layout = job_.parallelism;
    if (layout.dp.is_auto() || layout.tp.is_auto() || layout.pp.is_auto()) return false;
    return layout.dp.value() * layout.tp.value() * layout.pp.value() != launch_.size;
  }

  void take_best_layout() {
    const plan::SearchResult found = plan::search(workload_of(job_), *cluster_, search_space(job_, launch_.size));
    if (!found.layouts.empty()) {
      job_ = with_layout(std::move(job_), found.layouts.front().layout);
      return check_layout(job_, reading_);
    }
    const plan::RefusedMesh& nearest = found.refused.front();
    diagnostics_.add(reading_.place_of({"parallelism"}), "E126",
                     fmt::format("no layout of {} ranks fits: dp {} tp {} pp {} {}", launch_.size, nearest.dp,
                                 nearest.tp, nearest.pp, nearest.reason),
                     "start another number of ranks; `trident plan` lists what each layout lacks");
  }

  void refuse(const MeshShape& shape) {
    const int64_t others = int64_t{shape.tp} * shape.pp;
    const std::string started = launch_.size == 1 ? "1 rank" : fmt::format("{} ranks", launch_.size);
    const std::string problem =
        job_.parallelism.dp.is_auto()
            ? fmt::format("tp·pp = {}·{} = {} does not divide the {} started", shape.tp, shape.pp, others, started)
            : fmt::format("dp·tp·pp = {}·{}·{} = {}, but {} {} started", shape.dp, shape.tp, shape.pp, shape.ranks(),
                          started, launch_.size == 1 ? "was" : "were");
    std::string remedy = fmt::format("start {}: {}", shape.ranks(), command(origins_, shape.ranks(), start_));
    if (const auto nearest = nearest_legal_mesh(job_, origins_, shape, launch_.size)) {
      remedy += fmt::format("; or, for {}, parallelism.dp={} parallelism.tp={} parallelism.pp={}", started, nearest->dp,
                            nearest->tp, nearest->pp);
    }
    diagnostics_.add(reading_.place_of({"parallelism.dp", "parallelism.tp", "parallelism.pp", "parallelism"}), "E125",
                     problem, remedy);
  }

  JobConfig job_;
  const ResolvedOrigins& origins_;
  const LaunchEnvironment& launch_;
  const plan::ClusterSpec* cluster_;
  StartCommand start_;
  Diagnostics diagnostics_;
  Reading reading_;
};

}  // namespace

JobConfig decide_mesh(JobConfig job, const ResolvedOrigins& origins, const LaunchEnvironment& launch,
                      const plan::ClusterSpec* cluster, const std::optional<StartCommand>& start) {
  if (launch.size < 1) return job;
  return MeshDecision(std::move(job), origins, launch, cluster, start.value_or(command_of(launch.launcher))).run();
}

}  // namespace trident
