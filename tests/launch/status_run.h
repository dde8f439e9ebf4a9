#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "launch/status/rank_board.h"
#include "tests/scratch_dir.h"
#include "train/metrics/events_file.h"
#include "train/metrics/metrics_file.h"
#include "train/metrics/run_directory.h"

namespace trident {

constexpr double kStatusStart = 1.8e9;

/// A made-up run's folder, gone with the test.
class StatusRun {
 public:
  [[nodiscard]] const RunDirectory& run() const { return run_; }
  void step(int64_t number, double loss, int attempt = 1) const {
    StepMetrics row;
    row.attempt = attempt;
    row.step = number;
    row.loss = loss;
    row.grad_norm = 1;
    row.tokens = 100 * number;
    row.step_s = 0.5;
    row.tokens_per_s = 200;
    row.time = kStatusStart + static_cast<double>(number);
    append(run_.metrics(), to_json_line(row));
  }
  void event(EventRecord record) const {
    if (record.ts.empty()) record.ts = "2027-01-15T08:00:00.000Z";  // kStatusStart
    append(run_.events(), to_json_line(record));
  }
  static void append(const std::filesystem::path& file, const std::string& text) {
    std::ofstream(file, std::ios::app | std::ios::binary) << text;
  }

 private:
  test::ScratchDir folder_;
  RunDirectory run_{folder_.path()};
};

/// A gang whose ranks have done `step`, each after that much work.
inline GangState status_gang(const MeshShape& mesh, const std::vector<double>& busy, int64_t step) {
  GangState gang;
  gang.mesh = mesh;
  for (size_t i = 0; i < busy.size(); ++i) {
    RankState state;
    state.rank = static_cast<int>(i);
    state.pid = 1000 + static_cast<int64_t>(i);
    state.host = "node";
    state.limit_s = 3;
    state.record.resumed = 0;
    state.record.done = step;
    state.record.step = step + 1;
    state.record.phase = TrainPhase::forward_backward;
    state.record.busy_seconds = busy[i];
    gang.ranks.push_back(state);
  }
  return gang;
}

}  // namespace trident
