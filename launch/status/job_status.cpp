#include "launch/status/job_status.h"

#include <exception>
#include <string>
#include <utility>

#include "core/atomic_file.h"
#include "core/log.h"
#include "launch/run_facts.h"
#include "train/metrics/report.h"

namespace trident {
namespace {

template <class Action>
void guarded(const char* what, Action action) noexcept {
  try {
    action();
  } catch (const std::exception& error) {
    try {
      log::warning("{}: {}; the job is not concerned", what, error.what());
    } catch (...) {
      return;  // where even the log fails there is nobody to tell
    }
  }
}

}  // namespace

JobStatus::JobStatus(JobConfig job, RunDirectory run) : job_(std::move(job)), run_(std::move(run)) {}

void JobStatus::serve() noexcept {
  guarded("no status server", [this] {
    const auto& logging = job_.logging;
    if (!logging.status_port.is_auto() && logging.status_port.value() == 0) return;
    const StatusOptions options{logging.status_address, static_cast<int>(logging.status_port.value_or(0))};
    server_ = std::make_unique<StatusServer>(options, run_, facts_of(job_), board_);
    log::info("status at {}, with /metrics, /healthz and /api/state; trident watch {}", server_->url(),
              run_.root().string());
  });
}

void JobStatus::finish() noexcept {
  server_.reset();
  guarded("no report", [this] {
    const ReportData data = load_report_data(run_, facts_of(run_));
    if (const std::string line = ledger_line(data.ledger); !line.empty()) log::info("wall time {}", line);
    if (data.history.last_attempt > 0) write_file_atomically(run_.report(), render_report(data));
  });
}

}  // namespace trident
