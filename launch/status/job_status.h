#pragma once

#include <memory>

#include "launch/status/rank_board.h"
#include "launch/status/status_server.h"
#include "train/config/job_config.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// All that `trident launch` shows of a job: the status server while it runs, and at its end what its wall time went
/// into. Whatever fails here is a warning: the job goes on, and ends as it ends.
class JobStatus {
 public:
  JobStatus(JobConfig job, RunDirectory run);

  /// Where the supervisor leaves what it sees.
  [[nodiscard]] RankBoard& board() { return board_; }
  /// Starts the server, unless the job wants none. The run's folder must be there.
  void serve() noexcept;
  /// Ends the server, logs the ledger and writes report.html anew: the ranks' own knows neither how the last gang ended
  /// nor faults that ended the job.
  void finish() noexcept;

 private:
  JobConfig job_;
  RunDirectory run_;
  RankBoard board_;
  std::unique_ptr<StatusServer> server_;
};

}  // namespace trident
