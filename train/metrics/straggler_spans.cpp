#include "train/metrics/straggler_spans.h"

#include <algorithm>

namespace trident {
namespace {

// Somebody who is named a second time has caught up.
StragglerSpan* open_span(std::vector<StragglerSpan>& spans, const EventRecord& event) {
  const auto last = std::find_if(spans.rbegin(), spans.rend(), [&](const StragglerSpan& span) {
    return span.rank == event.rank && span.attempt == event.attempt;
  });
  return last == spans.rend() || last->last_step ? nullptr : &*last;
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
