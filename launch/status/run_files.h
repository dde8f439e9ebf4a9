#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "train/metrics/epochs_file.h"
#include "train/metrics/events_file.h"
#include "train/metrics/metrics_file.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// Gives every complete line of a growing file once.
class FileTail {
 public:
  explicit FileTail(std::filesystem::path path) : path_(std::move(path)) {}
  /// Lines since the last call; a last line without its newline waits for the next.
  void read(const std::function<void(std::string_view)>& use);

 private:
  std::filesystem::path path_;
  std::int64_t offset_ = 0;  // of the first line that was not given yet
};

/// What the files of a run say, followed as they grow.
class RunFiles {
 public:
  explicit RunFiles(const RunDirectory& run);
  void update();

  [[nodiscard]] const MetricsHistory& rows() const { return rows_; }  ///< as written
  /// All of them; only the last have their `detail` still.
  [[nodiscard]] const std::vector<EventRecord>& events() const { return events_; }
  [[nodiscard]] const std::vector<EpochRecord>& epochs() const { return epochs_; }
  static constexpr std::size_t kDetails = 200;

 private:
  void add_event(std::string_view line);

  FileTail metrics_file_;
  FileTail events_file_;
  FileTail epochs_file_;
  MetricsHistory rows_;
  std::vector<EventRecord> events_;
  std::vector<EpochRecord> epochs_;
};

}  // namespace trident
