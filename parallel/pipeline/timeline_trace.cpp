#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/atomic_file.h"
#include "parallel/pipeline/timeline.h"
#include "parallel/pipeline/trace_writer.h"

namespace trident::pipeline {
namespace {

using Event = Timeline::Event;
using Kind = Timeline::Kind;

constexpr double kMicrosecond = 1000;  // in nanoseconds

std::string readable_bytes(int64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1000;
  std::string_view unit = "kB";
  for (const std::string_view larger : {"MB", "GB", "TB"}) {
    if (value < 999.95) break;
    value /= 1000;
    unit = larger;
  }
  return fmt::format("{:.1f} {}", value, unit);
}

bool is_message(const Event& event) { return event.op == CollectiveOp::send || event.op == CollectiveOp::recv; }

// Rows of one kind; a second one where events overlap without nesting, which no row can show.
struct Track {
  std::string name;
  bool nests = false;                 // its events never overlap otherwise
  std::vector<int64_t> busy_until{};  // by row
  int first_thread = 0;

  size_t row_for(const Event& event) {
    size_t row = 0;
    while (!nests && row < busy_until.size() && busy_until[row] > event.begin) ++row;
    if (row == busy_until.size()) busy_until.push_back(0);
    busy_until[row] = event.end;
    return row;
  }
};

class TimelineTrace {
 public:
  TimelineTrace(const Timeline& timeline, const TimelineRank& rank, TraceWriter::Output output)
      : timeline_(timeline), rank_(rank), trace_(std::move(output)) {}

  void write() {
    place_events();
    trace_.name_rank(rank_.rank, rank_.stages, rank_.place);
    for (const Track& track : tracks_) name_rows(track);
    for (size_t i = 0; i < timeline_.events().size(); ++i) draw(timeline_.events()[i], places_[i]);
    if (timeline_.dropped() > 0)
      trace_.mark({rank_.rank, 1, microseconds(timeline_.full_since())}, "recording is full from here");
    trace_.finish(metadata());
  }

 private:
  struct Place {
    uint32_t track;
    uint32_t row;
  };

  static double microseconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) / kMicrosecond; }

  void place_events() {
    tracks_ = {{"phases", true}, {"compute", true}, {"send"}, {"receive"}};
    for (const Event& event : timeline_.events()) {
      const size_t track = track_of(event);
      places_.push_back({static_cast<uint32_t>(track), static_cast<uint32_t>(tracks_[track].row_for(event))});
      last_ = std::max(last_, event.end == Timeline::kUnfinished ? event.begin : event.end);
    }
    // Thread 0 is one that viewers give a meaning of its own.
    int thread = 1;
    for (Track& track : tracks_) {
      track.first_thread = thread;
      thread += static_cast<int>(track.busy_until.size());
    }
  }

  size_t track_of(const Event& event) {
    if (event.kind == Kind::phase) return 0;
    if (event.kind != Kind::operation) return 1;
    if (is_message(event)) return event.op == CollectiveOp::send ? 2 : 3;
    const std::string& group = timeline_.name(event);
    const auto found =
        std::find_if(tracks_.begin() + 4, tracks_.end(), [&](const Track& t) { return t.name == group; });
    if (found == tracks_.end()) return tracks_.push_back({group}), tracks_.size() - 1;
    return static_cast<size_t>(found - tracks_.begin());
  }

  void name_rows(const Track& track) {
    for (size_t row = 0; row < track.busy_until.size(); ++row) {
      const int thread = track.first_thread + static_cast<int>(row);
      trace_.name_thread(rank_.rank, thread, row == 0 ? track.name : fmt::format("{} ({})", track.name, row + 1));
      trace_.sort_thread(rank_.rank, thread);
    }
  }

  void draw(const Event& event, const Place& place) {
    const int thread = tracks_[place.track].first_thread + static_cast<int>(place.row);
    const bool unfinished = event.end == Timeline::kUnfinished;
    std::string args = args_of(event);
    if (unfinished) args += fmt::format(R"({}"unfinished":true)", args.empty() ? "" : ",");
    trace_.span({rank_.rank, thread, microseconds(event.begin)},
                microseconds((unfinished ? last_ : event.end) - event.begin), name_of(event), category_of(event), args);
  }

  [[nodiscard]] std::string name_of(const Event& event) const {
    if (event.kind == Kind::phase) return timeline_.name(event);
    if (event.kind == Kind::wait) return "wait " + trace_name(event.action);
    if (event.has_action) return trace_name(event.action);
    std::string name = fmt::format("{} {}", trident::to_string(event.op), timeline_.name(event));
    return event.bytes > 0 ? name + " " + readable_bytes(event.bytes) : name;
  }

  static std::string_view category_of(const Event& event) {
    switch (event.kind) {
      case Kind::action: return "compute";
      case Kind::wait: return "wait";
      case Kind::phase: return "phase";
      case Kind::operation: return "comm";
    }
    return {};
  }

  [[nodiscard]] std::string args_of(const Event& event) const {
    std::string args = event.has_action ? trace_args(event.action) : std::string();
    if (event.kind != Kind::operation) return args;
    if (!args.empty()) args += ",";
    args += fmt::format(R"("group":{},"bytes":{})", json_string(timeline_.name(event)), event.bytes);
    return event.sequence > 0 ? args + fmt::format(R"(,"sequence":{})", event.sequence) : args;
  }

  [[nodiscard]] std::string metadata() const {
    const auto age = std::chrono::steady_clock::now() - timeline_.options().origin;
    const auto origin = std::chrono::system_clock::now().time_since_epoch() - age;
    return fmt::format(R"("origin_unix_us":{},"events":{},"dropped_events":{})",
                       std::chrono::duration_cast<std::chrono::microseconds>(origin).count(), timeline_.events().size(),
                       timeline_.dropped());
  }

  const Timeline& timeline_;
  const TimelineRank& rank_;
  TraceWriter trace_;
  std::vector<Track> tracks_;
  std::vector<Place> places_;  // by event
  int64_t last_ = 0;
};

}  // namespace

std::string to_chrome_trace(const Timeline& timeline, const TimelineRank& rank) {
  std::string text;
  TimelineTrace(timeline, rank, [&](std::string_view part) { text += part; }).write();
  return text;
}

void write_chrome_trace(const std::filesystem::path& path, const Timeline& timeline, const TimelineRank& rank) {
  AtomicFile file(path);
  TimelineTrace(timeline, rank, [&](std::string_view part) { file.write(part); }).write();
  file.commit();
}

}  // namespace trident::pipeline
