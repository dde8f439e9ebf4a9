#include "parallel/pipeline/timeline.h"

#include <algorithm>

namespace trident::pipeline {

static_assert(sizeof(Timeline::Event) == 56, "as TimelineOptions::most_events says");

size_t Timeline::add(Event event) {
  event.begin = now();
  if (events_.size() >= options_.most_events) {
    if (dropped_++ == 0) full_since_ = event.begin;
    return kNone;
  }
  events_.push_back(event);
  return events_.size() - 1;
}

size_t Timeline::begin(const Action& action, Kind kind) {
  if (kind == Kind::action && (is_send(action.op) || is_recv(action.op))) {
    message_ = action;
    return kNone;
  }
  return add({.action = action, .kind = kind, .has_action = true});
}

size_t Timeline::begin(std::string_view phase) { return add({.name = number_of(phase), .kind = Kind::phase}); }

void Timeline::end(size_t event) {
  if (event != kNone)
    events_[event].end = now();
  else
    message_.reset();
}

void Timeline::entered(const ProgressRecord& record) {
  if (!recording_) return;
  Event event{.bytes = record.bytes,
              .sequence = record.sequence,
              .name = number_of(record.group),
              .kind = Kind::operation,
              .op = record.op};
  if (message_ && (record.op == CollectiveOp::send || record.op == CollectiveOp::recv)) {
    event.action = *message_;
    event.has_action = true;
  }
  // An operation that was abandoned may have left its record's place to this one.
  std::erase_if(under_way_, [&](const auto& other) { return other.first == &record; });
  if (const size_t index = add(event); index != kNone) under_way_.emplace_back(&record, index);
}

void Timeline::left(const ProgressRecord& record) {
  const auto found =
      std::find_if(under_way_.begin(), under_way_.end(), [&](const auto& other) { return other.first == &record; });
  if (found == under_way_.end()) return;
  events_[found->second].end = now();
  under_way_.erase(found);
}

uint32_t Timeline::number_of(std::string_view name) {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) return names_.emplace_back(name), static_cast<uint32_t>(names_.size() - 1);
  return static_cast<uint32_t>(found - names_.begin());
}

std::chrono::steady_clock::time_point on_this_clock(std::chrono::system_clock::time_point moment) {
  // A thread may lose the processor between two readings: the closest pair of several counts.
  using Steady = std::chrono::steady_clock;
  Steady::duration closest = Steady::duration::max();
  Steady::time_point result;
  for (int attempt = 0; attempt < 16; ++attempt) {
    const Steady::time_point before = Steady::now();
    const auto system = std::chrono::system_clock::now();
    const Steady::duration apart = Steady::now() - before;
    if (apart >= closest) continue;
    closest = apart;
    result = before + apart / 2 + std::chrono::duration_cast<Steady::duration>(moment - system);
  }
  return result;
}

}  // namespace trident::pipeline
