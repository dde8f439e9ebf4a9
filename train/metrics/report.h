#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/metrics/events_file.h"
#include "train/metrics/ledger.h"
#include "train/metrics/metrics_file.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// What the files of a run do not say of it; zero where unknown.
struct RunFacts {
  std::string run_name{};
  std::int64_t parameters = 0;
  std::int64_t total_steps = 0;
  int ranks = 0;
};

struct ReportData {
  RunFacts facts{};
  MetricsHistory history{};
  std::vector<EventRecord> events{};
  std::string config{};
  Ledger ledger{};
};

/// Reads the run's files; an empty run name becomes that of its folder.
ReportData load_report_data(const RunDirectory& run, const RunFacts& facts);

/// One HTML page that needs nothing but itself: no scripts, no network, below 1 MB however long the run.
std::string render_report(const ReportData& data);

/// Makes `report.html` from the run's files. Throws Error where it cannot be written.
void write_report(const RunDirectory& run, const RunFacts& facts);

/// Only the loss curve, as an SVG file of its own. Throws Error where it cannot be written.
void write_loss_curve(const MetricsHistory& history, const std::filesystem::path& svg);

}  // namespace trident
