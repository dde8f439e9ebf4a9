#include "train/metrics/straggler_spans.h"

#include <algorithm>
#include <ranges>

namespace trident {
namespace {

// Somebody who is named a second time has caught up.
StragglerSpan* open_span(std::vector<StragglerSpan>& spans, const EventRecord& event) {
  for (StragglerSpan& span : spans | std::views::reverse) {
    if (span.rank == event.rank && span.attempt == event.attempt) return span.last_step ? nullptr : &span;
  }
  return nullptr;
}

}  // namespace

std::vector<StragglerSpan> find_stragglers(std::span<const EventRecord> events) {
  std::vector<StragglerSpan> spans;
  for (const EventRecord& event : events) {
    if (event.event != RunEvent::straggler || !event.rank) continue;
    if (StragglerSpan* span = open_span(spans, event)) {
      span->last_step = event.step;
    } else {
      spans.push_back({.rank = *event.rank,
                       .host = event.host,
                       .attempt = event.attempt,
                       .first_step = event.step,
                       .ratio = event.ratio.value_or(0),
                       .busy_seconds = event.seconds.value_or(0)});
    }
  }
  return spans;
}

}  // namespace trident
