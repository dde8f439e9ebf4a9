#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "train/metrics/epochs_file.h"
#include "train/metrics/events_file.h"
#include "train/metrics/metrics_file.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// What a run's wall time went into.
enum class TimeUse {
  useful,      ///< steps whose result stands
  evaluation,  ///< validation losses and samples
  recomputed,  ///< steps that were lost and done again, and the part of a step that a fault broke off
  checkpoint,  ///< what snapshots and saves held the training up
  detection,   ///< from the last sign of life of the rank that failed to the verdict
  restart,     ///< ending a gang that failed, starting one, loading its state; the first start too
  idle,        ///< nobody ran the job, or ranks came to their end
};
inline constexpr std::size_t kTimeUses = 7;
[[nodiscard]] std::string_view to_string(TimeUse use);

/// The wall time of a run over all its attempts, every moment under one heading, so that the parts sum to the whole.
struct Ledger {
  std::array<double, kTimeUses> seconds{};
  std::int64_t lost_steps = 0;  ///< steps that were done and then lost

  [[nodiscard]] double operator[](TimeUse use) const { return seconds[static_cast<std::size_t>(use)]; }
  [[nodiscard]] double wall() const;
  /// 0 where there is no wall time.
  [[nodiscard]] double share(TimeUse use) const;
  /// Effective training time: the share of steps whose result stands.
  [[nodiscard]] double goodput() const { return share(TimeUse::useful); }
};

/// From the first known moment of the run to its last; to `now`, in seconds since 1970, where the run goes on.
/// `rows` as they were written (`read_metrics_rows`). Rows without a time of their own follow one another.
[[nodiscard]] Ledger make_ledger(const MetricsHistory& rows, std::span<const EventRecord> events,
                                 std::span<const EpochRecord> epochs, std::optional<double> now = std::nullopt);
[[nodiscard]] Ledger read_ledger(const RunDirectory& run);

/// "12m03s: useful 94.1%, checkpoint 1.2%, restart 4.7%; 3 steps lost"; empty where there is no wall time.
[[nodiscard]] std::string ledger_line(const Ledger& ledger);

}  // namespace trident
