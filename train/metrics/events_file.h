#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trident {

/// What may stand in `events.jsonl`.
enum class RunEvent {
  start,
  checkpoint_begin,
  checkpoint_commit,
  fault,
  verdict,
  restart,
  resume,
  straggler,
  sample,  ///< generated text, in `detail`
  stop,
};

std::string_view to_string(RunEvent event);
std::optional<RunEvent> event_from(std::string_view name);

/// One line of `events.jsonl`; empty fields are left out.
struct EventRecord {
  RunEvent event = RunEvent::start;
  int attempt = 1;
  std::int64_t step = 0;
  std::optional<int> rank{};
  std::string host{};
  std::optional<std::int64_t> pid{};
  std::string phase{};   ///< what the rank was doing: data, forward, all_reduce, ...
  std::string cause{};   ///< SIGKILL, hang, exit 70, ...
  std::string detail{};  ///< free text
  std::optional<double> seconds{};
  std::optional<double> ratio{};  ///< of a straggler: its work to the median of its peers
  std::string ts{};               ///< ISO-8601, UTC; written as now where empty
};

/// `2026-11-22T19:30:01.123Z`
std::string utc_timestamp(std::chrono::system_clock::time_point time);
/// Back to seconds since 1970, or nothing where the text is no such timestamp.
std::optional<double> seconds_since_epoch(std::string_view timestamp);

std::string to_json_line(const EventRecord& record);

/// Nothing where the line is no event.
std::optional<EventRecord> parse_event(std::string_view line);

/// Reads what can be read, in file order; lines that are no events are passed over.
std::vector<EventRecord> read_events(const std::filesystem::path& path);

}  // namespace trident
