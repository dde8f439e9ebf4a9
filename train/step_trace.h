#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "parallel/comm/device_mesh.h"
#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/timeline.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// The measured timeline of some steps: `<run>/trace/rank_00003.json` for every rank, and beside them simulated.json,
/// the schedule as the simulator times it with the costs that were measured.
class StepTrace {
 public:
  /// `steps`: first and last, from 1; none: nothing is recorded. Watches all groups that are split from `world` from
  /// now on. Collective.
  StepTrace(const std::optional<std::array<int64_t, 2>>& steps, const Communicator& world);
  ~StepTrace();
  StepTrace(const StepTrace&) = delete;
  StepTrace& operator=(const StepTrace&) = delete;

  /// For executors and phases; null where no step is recorded.
  [[nodiscard]] pipeline::Timeline* timeline() { return timeline_ ? &*timeline_ : nullptr; }
  /// Before step `step` (from 1), on every rank.
  void begin(int64_t step);
  /// After it. Writes the files once the last recorded step is done: collective then.
  void end(int64_t step, const RunDirectory& run, const DeviceMesh& mesh, const pipeline::Schedule& schedule);

 private:
  class Tee;

  void write(const RunDirectory& run, const DeviceMesh& mesh, const pipeline::Schedule& schedule);

  Communicator world_;
  std::array<int64_t, 2> steps_{0, -1};
  std::optional<pipeline::Timeline> timeline_;
  ProgressSink* before_ = nullptr;  // the world's, when this began
  std::unique_ptr<Tee> tee_;
};

}  // namespace trident
