#include <fmt/format.h>

#include <chrono>

#include "core/log.h"
#include "launch/coordinator.h"

// What a coordinator tells of a run in its events.

namespace trident {

void Coordinator::tell(const Verdict& verdict) {
  log::error("{}", verdict.sentence());
  event(RunEvent::fault, verdict, verdict.evidence.empty() ? verdict.what : verdict.what + ": " + verdict.evidence);
  event(RunEvent::verdict, verdict, verdict.sentence());
}

void Coordinator::event(RunEvent event, const Verdict& verdict, const std::string& detail) {
  EventRecord record{.event = event, .attempt = static_cast<int>(epoch_), .step = verdict.step};
  if (verdict.rank >= 0) record.rank = verdict.rank, record.pid = verdict.pid;
  record.host = verdict.host;
  record.phase = verdict.phase;
  record.cause = to_string(verdict.cause);
  record.detail = detail;
  record.seconds = verdict.idle_s;
  events_.append(to_json_line(record));
}

void Coordinator::tell_recovery(const GangState& state) {
  const double whole = std::chrono::duration<double>(Clock::now() - recovery_->seen).count();
  const int64_t resumed = state.ranks.front().record.resumed;
  const std::string detail =
      fmt::format("went on from step {}; ranks gone after {:.3f} s, {} after {:.3f} s", resumed, recovery_->fence_s,
                  has_gone_on(state.ranks) ? "first new step" : "nothing left to do", whole);
  EventRecord record{.event = RunEvent::restart, .attempt = static_cast<int>(epoch_), .step = resumed};
  record.detail = detail;
  record.seconds = whole;
  record.host = host_name();
  record.pid = process_id();
  events_.append(to_json_line(record));
  log::info("epoch {}: {}", epoch_, detail);
  recovery_.reset();
}

void Coordinator::tell_stragglers(const GangState& state) {
  for (const Straggler& found : stragglers_.look(state)) {
    const RankState& rank = state.ranks[static_cast<size_t>(found.rank)];
    EventRecord record{.event = RunEvent::straggler, .attempt = static_cast<int>(epoch_), .step = rank.record.done};
    record.rank = found.rank;
    record.host = rank.host;
    record.pid = rank.pid;
    record.seconds = found.busy_seconds;
    record.ratio = found.ratio;
    record.detail = found.over ? "keeps up again"
                               : fmt::format("works {:.1f} times as long at a step as its peers' median", found.ratio);
    events_.append(to_json_line(record));
    log::warning("rank {} (pid {} on {}) {}", found.rank, rank.pid, rank.host, record.detail);
  }
}

void Coordinator::tell_set_aside(const Verdict& verdict, bool again) {
  EventRecord record{.event = RunEvent::fault, .attempt = static_cast<int>(epoch_), .step = verdict.step};
  record.host = verdict.host;
  record.cause = "node set aside";
  record.detail = fmt::format("node {} takes no more ranks: {}", verdict.host,
                              again ? "they have failed there in two starts, and committed nothing"
                                    : "none has come on there yet, while others have");
  events_.append(to_json_line(record));
  log::warning("{}; once it is mended, end its agent (`trident agent`): another is started, and used", record.detail);
}

void Coordinator::tell_no_copies(int64_t step, const std::string& problem) {
  EventRecord record{.event = RunEvent::fault, .attempt = static_cast<int>(epoch_), .step = step};
  record.phase = "checkpoint";
  record.cause = "no copies";
  record.detail = "no copies of snapshots on other nodes: " + problem;
  events_.append(to_json_line(record));
  log::warning("{}; where a node is lost, the newest checkpoint is gone on from", record.detail);
}

void Coordinator::tell_refused(const GangState& state) {
  const auto what = refusals_.look(nodes_.refused());
  if (!what) return;
  EventRecord record{.event = RunEvent::fault, .attempt = static_cast<int>(epoch_), .step = furthest_step(state.ranks)};
  record.host = nodes_.own().host;
  record.cause = "forged frames";
  record.detail = *what + "; nothing of it was heard";
  events_.append(to_json_line(record));
  log::warning("{}", record.detail);
}

}  // namespace trident
