#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace trident {

/// One gang of ranks, as `epochs.jsonl` tells of it. Times are seconds since 1970, NaN where they are not known.
struct EpochRecord {
  std::int64_t epoch = 0;
  double begin = std::numeric_limits<double>::quiet_NaN();
  double end = std::numeric_limits<double>::quiet_NaN();
  std::int64_t dp = 0;  ///< 0: not known
  std::int64_t tp = 0;
  std::int64_t pp = 0;
  bool first = false;     ///< of a start of the command: what was before it was another's
  std::string outcome{};  ///< finished, preempted, interrupted, fault; empty: it runs, or its supervisor died
  std::string cause{};    ///< of a fault
};

/// Adds what a line says to the epoch that it is about. False where it is no line of such a file.
bool add_epoch_line(std::string_view line, std::vector<EpochRecord>& epochs);

/// Reads what can be read, by epoch; a missing file has none.
std::vector<EpochRecord> read_epochs(const std::filesystem::path& path);

}  // namespace trident
