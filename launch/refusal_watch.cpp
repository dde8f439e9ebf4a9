#include "launch/refusal_watch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace trident {
namespace {

constexpr std::chrono::milliseconds kMoment{300};
constexpr std::chrono::seconds kMost{5};  // where they never stop

uint64_t refused(const WireCounters& counters) {
  return counters.forged + counters.oversized + counters.replayed + counters.malformed;
}

}  // namespace

std::optional<std::string> RefusalWatch::look(const WireCounters& counters, Clock::time_point now) {
  if (refused(counters) != refused(seen_)) {
    if (refused(seen_) == refused(told_)) first_ = now;
    seen_ = counters;
    last_ = now;
  }
  const uint64_t news = refused(seen_) - refused(told_);
  if (news == 0 || (now - last_ < kMoment && now - first_ < kMost)) return std::nullopt;
  std::vector<std::string> kinds;
  const auto add = [&](uint64_t WireCounters::*kind, const char* what) {
    if (seen_.*kind > told_.*kind) kinds.push_back(fmt::format("{} {}", seen_.*kind - told_.*kind, what));
  };
  add(&WireCounters::forged, "wrongly signed");
  add(&WireCounters::oversized, "too long");
  add(&WireCounters::replayed, "out of turn");
  add(&WireCounters::malformed, "of no known protocol");
  told_ = seen_;
  return fmt::format("{} connection{} of somebody who is not of this job {} refused: {}", news, news == 1 ? "" : "s",
                     news == 1 ? "was" : "were", fmt::join(kinds, ", "));
}

}  // namespace trident
