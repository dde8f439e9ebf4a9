#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parallel/comm/progress.h"
#include "parallel/pipeline/action.h"

namespace trident::pipeline {

struct TimelineOptions {
  /// What the timeline calls 0: the same moment for all ranks that are to lie side by side. One node's ranks share the
  /// steady clock; for ranks on several nodes see on_this_clock().
  std::chrono::steady_clock::time_point origin = std::chrono::steady_clock::now();
  /// 56 bytes each.
  size_t most_events = 1'000'000;
};

/// What one rank did when, measured: the executor's actions and waits (ExecutorHooks::timeline), the caller's own
/// phases (Span), and, as a communicator's progress sink, every operation of its groups. Give it as CommOptions::sink,
/// or with set_progress_sink() before the groups to be seen are split off. Used by the rank's own thread.
///
/// Records between start() and stop(), as often as wanted, until most_events; what is begun then is counted only.
/// An event costs two readings of the clock; without recording, nothing.
class Timeline final : public ProgressSink {
 public:
  enum class Kind : uint8_t {
    action,    ///< the executor performs `action`
    wait,      ///< `action` is held up by a message
    phase,     ///< the caller's own, called `name`
    operation  ///< of the group `name`; a pipeline's message carries its `action`
  };
  static constexpr int64_t kUnfinished = std::numeric_limits<int64_t>::max();
  struct Event {
    int64_t begin = 0;  ///< nanoseconds since the origin
    int64_t end = kUnfinished;
    int64_t bytes = 0;
    uint64_t sequence = 0;
    Action action{};
    uint32_t name = 0;  ///< of names()
    Kind kind = Kind::action;
    CollectiveOp op = CollectiveOp::barrier;
    bool has_action = false;
  };
  class Span;

  explicit Timeline(const TimelineOptions& options = {}) : options_(options) {}

  void start() { recording_ = true; }
  void stop() { recording_ = false; }
  [[nodiscard]] bool recording() const { return recording_; }

  /// By their begin.
  [[nodiscard]] const std::vector<Event>& events() const { return events_; }
  [[nodiscard]] const std::string& name(const Event& event) const { return names_[event.name]; }
  /// Events that most_events had no room for, and when the first of them began.
  [[nodiscard]] size_t dropped() const { return dropped_; }
  [[nodiscard]] int64_t full_since() const { return full_since_; }
  [[nodiscard]] const TimelineOptions& options() const { return options_; }

  void entered(const ProgressRecord& record) override;
  void left(const ProgressRecord& record) override;

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();

  [[nodiscard]] int64_t now() const {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now() - options_.origin).count();
  }
  [[nodiscard]] size_t add(Event event);
  [[nodiscard]] size_t begin(const Action& action, Kind kind);
  [[nodiscard]] size_t begin(std::string_view phase);
  void end(size_t event);
  [[nodiscard]] uint32_t number_of(std::string_view name);

  TimelineOptions options_;
  bool recording_ = false;
  std::vector<Event> events_;
  std::vector<std::string> names_{{}};  // few
  std::vector<std::pair<const ProgressRecord*, size_t>> under_way_;
  std::optional<Action> message_;  // the send or receive that the executor performs
  size_t dropped_ = 0;
  int64_t full_since_ = kUnfinished;
};

/// An event from its construction to its destruction; none where there is no timeline, or it does not record. Phases
/// may nest. A send's or receive's own span only tells whose message is started: that lasts beyond it.
class [[nodiscard]] Timeline::Span {
 public:
  Span(Timeline* timeline, const Action& action, Kind kind = Kind::action) : timeline_(recording(timeline)) {
    if (timeline_ != nullptr) event_ = timeline_->begin(action, kind);
  }
  Span(Timeline* timeline, std::string_view phase) : timeline_(recording(timeline)) {
    if (timeline_ != nullptr) event_ = timeline_->begin(phase);
  }
  ~Span() {
    if (timeline_ != nullptr) timeline_->end(event_);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  static Timeline* recording(Timeline* timeline) {
    return timeline != nullptr && timeline->recording_ ? timeline : nullptr;
  }

  Timeline* timeline_;
  size_t event_ = kNone;
};

/// The steady clock of this machine at a moment of the system clock: an origin for ranks on several nodes, as exact as
/// their system clocks agree.
[[nodiscard]] std::chrono::steady_clock::time_point on_this_clock(std::chrono::system_clock::time_point moment);

/// Whose timeline it is.
struct TimelineRank {
  int32_t rank = 0;               ///< of the world
  std::vector<int32_t> stages{};  ///< this rank's
  std::string place{};            ///< free text, for instance the coordinates in the mesh
};

/// Chrome's trace format, which Perfetto opens: one process with a row for phases, one for computation and its waits,
/// one for sends, one for receives, one for each group; where operations of a row overlap in time, several.
[[nodiscard]] std::string to_chrome_trace(const Timeline& timeline, const TimelineRank& rank);
/// The same as a file that appears whole or not at all; its folder must exist. Throws Error naming the file.
void write_chrome_trace(const std::filesystem::path& path, const Timeline& timeline, const TimelineRank& rank);

}  // namespace trident::pipeline
