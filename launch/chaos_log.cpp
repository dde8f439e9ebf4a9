#include "launch/chaos_log.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/log.h"
#include "train/metrics/append_file.h"

namespace trident {
namespace {

using Kind = InjectedFault::Kind;
using Place = InjectedFault::Place;
using nlohmann::ordered_json;

std::string key_of(int64_t epoch, const std::string& fault) { return std::to_string(epoch) + " " + fault; }

// The events that tell of a fault that ends no gang.
bool tells_of(const EventRecord& event, const InjectedFault& fault) {
  switch (fault.kind) {
    case Kind::slow: return event.event == RunEvent::straggler && event.detail != "keeps up again";
    case Kind::full_disk: return event.event == RunEvent::fault && event.cause == "storage";
    case Kind::hung_disk: return event.event == RunEvent::fault && event.cause == "slow storage";
    case Kind::flip:
      return fault.in == Place::snapshot && event.event == RunEvent::fault && event.cause == "damaged snapshot";
    case Kind::forged_frames: return event.event == RunEvent::fault && event.cause == "forged frames";
    default: return false;
  }
}

// A gang that it hits fails in that very epoch.
bool fails_at_once(const InjectedFault& fault) {
  return fault.kind != Kind::flip && fault.kind != Kind::slow && fault.kind != Kind::full_disk &&
         fault.kind != Kind::hung_disk && fault.kind != Kind::forged_frames && !concerns_link(fault.kind);
}

// In microseconds: nothing is timed more closely.
ordered_json or_null(const std::optional<double>& value) {
  return value ? ordered_json(std::round(*value * 1e6) / 1e6) : ordered_json();
}

std::string seconds_text(const char* name, std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return fmt::format("; {} after {:.3f} s (median; most {:.3f})", name, values[values.size() / 2], values.back());
}

}  // namespace

std::vector<FaultCause> expected_causes(const InjectedFault& fault) {
  switch (fault.kind) {
    case Kind::kill:
    case Kind::lose: return {FaultCause::killed};
    case Kind::stop: return {FaultCause::stopped};
    case Kind::segfault: return {FaultCause::crash};
    case Kind::exit: return {FaultCause::exit};
    case Kind::leave: return {FaultCause::left_early};
    case Kind::skip: return {FaultCause::skipped_collective};
    case Kind::mismatch: return {FaultCause::mismatched_collectives};
    case Kind::hog: return {FaultCause::out_of_memory};
    case Kind::livelock: return {FaultCause::hang};
    case Kind::nan: return {FaultCause::not_finite};
    case Kind::flip:
      if (fault.in == Place::snapshot) return {};
      return {FaultCause::corrupted, FaultCause::not_finite};
    case Kind::cut_link:
    case Kind::one_way_link:
    case Kind::agent_kill:
    case Kind::coordinator_kill: return {FaultCause::node_lost};
    case Kind::forged_frames:
    case Kind::slow:
    case Kind::full_disk:
    case Kind::hung_disk:
    case Kind::restore: return {};
  }
  return {};
}

ChaosLog::ChaosLog(RunDirectory run, std::vector<InjectedFault> faults, ChaosScope scope)
    : run_(std::move(run)), faults_(std::move(faults)), scope_(scope) {
  if (faults_.empty()) return;
  truncate_torn_line(run_.chaos());
  for_each_line(run_.chaos(), [this](std::string_view line) {
    const auto words = nlohmann::json::parse(line, nullptr, false);
    if (words.is_object() && words.contains("epoch") && words.contains("fault"))
      reported_.push_back(key_of(words["epoch"], words["fault"]));
  });
}

double ChaosLog::since(const Outcome& outcome, Time time) {
  using Seconds = std::chrono::duration<double>;
  const Injection& injection = outcome.injection;
  if (injection.host.empty() || injection.host == host_name())
    return std::max(0.0, Seconds(time.time_since_epoch()).count() - static_cast<double>(injection.steady_ns) * 1e-9);
  // Another node's steady clock says nothing here.
  const Seconds ago = std::chrono::steady_clock::now() - time;
  const Seconds now = std::chrono::system_clock::now().time_since_epoch();
  return std::max(0.0, (now - ago).count() - injection.wall_s);
}

void ChaosLog::take_injections() {
  if (faults_.empty()) return;
  const auto injections = read_injections(run_.injections());
  for (; taken_ < injections.size(); ++taken_) {
    const Injection& injection = injections[taken_];
    const auto is_it = [&](const InjectedFault& fault) { return to_text(fault) == injection.fault; };
    const auto fault = std::find_if(faults_.begin(), faults_.end(), is_it);
    const auto known = std::find(reported_.begin(), reported_.end(), key_of(injection.epoch, injection.fault));
    if (fault != faults_.end() && known == reported_.end()) outcomes_.push_back({*fault, injection});
  }
}

bool ChaosLog::names(const Outcome& outcome, FaultCause cause, int rank, const std::string& host) const {
  const auto causes = expected_causes(outcome.fault);
  if (std::find(causes.begin(), causes.end(), cause) == causes.end()) return false;
  if (!concerns_node(outcome.fault.kind)) return rank == outcome.fault.rank;
  // Either end of a cut link may be named.
  const bool own_link = concerns_link(outcome.fault.kind) && outcome.fault.node == scope_.node;
  return own_link || host == outcome.injection.host;
}

// Of several faults in one gang the verdict may name any. A bit that flipped may be found in a later one.
ChaosLog::Outcome* ChaosLog::blamed(int64_t epoch, const Verdict& verdict) {
  Outcome* best = nullptr;
  int best_score = 0;
  for (Outcome& outcome : outcomes_) {
    const auto causes = expected_causes(outcome.fault);
    if (outcome.detected || causes.empty()) continue;
    const bool at_once = fails_at_once(outcome.fault);
    const bool cause = std::find(causes.begin(), causes.end(), verdict.cause) != causes.end();
    if (at_once ? outcome.injection.epoch != epoch : !cause) continue;
    const bool victim =
        concerns_node(outcome.fault.kind) ? verdict.host == outcome.injection.host : verdict.rank == outcome.fault.rank;
    const int score = 1 + (victim ? 1 : 0) + (cause ? 2 : 0);
    // A link may have been cut before, and be whole by now.
    if (score < best_score || (score == best_score && !concerns_link(outcome.fault.kind))) continue;
    best = &outcome, best_score = score;
  }
  return best;
}

void ChaosLog::verdict(int64_t epoch, const Verdict& verdict, Time seen) {
  take_injections();
  if (faults_.empty()) return;
  // Most nodes are elsewhere, and so is whoever goes on.
  left_to_others_ = verdict.cause == FaultCause::node_lost && verdict.exit_code != 0;
  Outcome* const found = blamed(epoch, verdict);
  if (found == nullptr && follows_from_known(verdict)) return;
  if (found == nullptr) {
    ++false_alarms_;
    log::error("chaos: no fault was injected that explains: {}", verdict.sentence());
    return;
  }
  const bool right = names(*found, verdict.cause, verdict.rank, verdict.host);
  if (!right) log::error("chaos: {} was named wrongly: {}", found->injection.fault, verdict.sentence());
  const Time now = std::chrono::steady_clock::now();
  for (Outcome& outcome : outcomes_) {
    const bool with_it = outcome.injection.epoch == epoch && fails_at_once(outcome.fault) && !outcome.detected;
    outcome.overtaken |= !fails_at_once(outcome.fault) && outcome.injection.epoch == epoch;
    if (&outcome != found && !with_it) continue;
    outcome.detected = since(outcome, seen);
    outcome.named = since(outcome, now);
    outcome.named_rank = verdict.rank;
    outcome.named_host = verdict.host;
    outcome.named_cause = to_string(verdict.cause);
    outcome.right = right;
  }
}

// A link that is cut again and again, or a node that is found lost by the next gang only.
bool ChaosLog::follows_from_known(const Verdict& verdict) const {
  constexpr double kAftermath = 15;
  const Time now = std::chrono::steady_clock::now();
  return std::any_of(outcomes_.begin(), outcomes_.end(), [&](const Outcome& outcome) {
    const InjectedFault& fault = outcome.fault;
    return concerns_node(fault.kind) && names(outcome, verdict.cause, verdict.rank, verdict.host) &&
           since(outcome, now) < fault.seconds * (2 * fault.times - 1) + kAftermath;
  });
}

bool ChaosLog::tolerated(const Outcome& outcome) const {
  const bool is_short = outcome.fault.seconds <= scope_.times.lease().count();
  return outcome.overtaken || (concerns_link(outcome.fault.kind) && is_short);
}

void ChaosLog::fenced() {
  const Time now = std::chrono::steady_clock::now();
  for (Outcome& outcome : outcomes_) {
    if (outcome.detected && !outcome.fenced) outcome.fenced = since(outcome, now);
  }
}

bool ChaosLog::waits() const {
  return std::any_of(outcomes_.begin(), outcomes_.end(),
                     [](const Outcome& outcome) { return outcome.fenced && !outcome.written; });
}

void ChaosLog::look(const GangState& gang) {
  if (!waits()) return;
  const auto everywhere = [&](auto is) { return std::all_of(gang.ranks.begin(), gang.ranks.end(), is); };
  const bool resumed = everywhere(
      [](const RankState& rank) { return rank.record.resumed >= 0 && rank.record.done > rank.record.resumed; });
  const bool committed =
      resumed && everywhere([](const RankState& rank) { return rank.record.committed > rank.record.resumed; });
  const Time now = std::chrono::steady_clock::now();
  for (Outcome& outcome : outcomes_) {
    if (!outcome.fenced || outcome.written) continue;
    if (resumed && !outcome.resumed) outcome.resumed = since(outcome, now);
    if (committed) outcome.committed = since(outcome, now), write(outcome);
  }
}

void ChaosLog::ended() {
  const Time now = std::chrono::steady_clock::now();
  take_injections();
  for (Outcome& outcome : outcomes_) {
    const bool too_late = since(outcome, now) < scope_.times.timeout.count() + 1;
    outcome.overtaken |= concerns_link(outcome.fault.kind) && too_late;
    if (!outcome.fenced || outcome.written) continue;
    if (!outcome.resumed) outcome.resumed = since(outcome, now);
    outcome.committed = since(outcome, now);
    write(outcome);
  }
}

// That of a coordinator before this one.
void ChaosLog::find_verdict(Outcome& outcome, const EventRecord& event, double after) {
  const auto causes = expected_causes(outcome.fault);
  const auto is_it = [&](FaultCause cause) { return to_string(cause) == event.cause; };
  if (event.event != RunEvent::verdict || std::none_of(causes.begin(), causes.end(), is_it)) return;
  const bool node = concerns_node(outcome.fault.kind);
  if (node ? event.host != outcome.injection.host : event.rank != outcome.fault.rank) return;
  outcome.detected = outcome.named = std::max(0.0, after);
  outcome.named_rank = event.rank.value_or(-1);
  outcome.named_host = event.host;
  outcome.named_cause = event.cause;
  outcome.right = true;
}

void ChaosLog::follow_in_events(Outcome& outcome, const std::vector<EventRecord>& events) const {
  constexpr double kRounding = 0.002;  // of the events' times
  for (const EventRecord& event : events) {
    const double after = seconds_since_epoch(event.ts).value_or(0) - outcome.injection.wall_s;
    if (after < -kRounding) continue;
    if (!outcome.detected) find_verdict(outcome, event, after);
    if (!outcome.detected && tells_of(event, outcome.fault)) {
      outcome.detected = outcome.named = std::max(0.0, after);
      outcome.named_rank = event.rank.value_or(-1);
      outcome.named_host = event.host;
      outcome.named_cause = event.cause.empty() ? to_string(event.event) : event.cause;
      outcome.right = !event.rank || *event.rank == outcome.fault.rank;
    }
    const bool saved = event.event == RunEvent::checkpoint_commit || event.event == RunEvent::restart;
    if (outcome.detected && !outcome.committed && saved && after > *outcome.detected) outcome.committed = after;
  }
}

void ChaosLog::write(Outcome& outcome) {
  outcome.written = true;
  ordered_json line{{"v", 1},
                    {"fault", outcome.injection.fault},
                    {"kind", to_string(outcome.fault.kind)},
                    {"rank", concerns_node(outcome.fault.kind) ? ordered_json() : ordered_json(outcome.fault.rank)},
                    {"host", outcome.injection.host},
                    {"step", outcome.fault.step},
                    {"epoch", outcome.injection.epoch}};
  line["injected"] = utc_timestamp(
      std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::duration<double>(outcome.injection.wall_s))));
  line["detected"] = or_null(outcome.detected);
  line["named"] = or_null(outcome.named);
  line["named_rank"] = outcome.named_rank < 0 ? ordered_json() : ordered_json(outcome.named_rank);
  line["named_host"] = outcome.named_host.empty() ? ordered_json() : ordered_json(outcome.named_host);
  line["named_cause"] = outcome.named_cause;
  line["right"] = outcome.right;
  line["fenced"] = or_null(outcome.fenced);
  line["resumed"] = or_null(outcome.resumed);
  line["committed"] = or_null(outcome.committed);
  AppendFile(run_.chaos()).append(line.dump() + "\n");
}

bool ChaosLog::finish() {
  if (left_to_others_) return true;
  take_injections();
  const auto events = read_events(run_.events());
  std::vector<double> detected, fenced, resumed, committed;
  size_t right = 0;
  for (Outcome& outcome : outcomes_) {
    if (!outcome.detected) follow_in_events(outcome, events);
    if (!outcome.detected) outcome.right = tolerated(outcome);
    if (!outcome.detected && !outcome.right) log::error("chaos: {} was not detected", outcome.injection.fault);
    if (!outcome.written) write(outcome);
    right += outcome.right ? 1 : 0;
    if (outcome.detected) detected.push_back(*outcome.detected);
    if (outcome.fenced) fenced.push_back(*outcome.fenced);
    if (outcome.resumed) resumed.push_back(*outcome.resumed);
    if (outcome.committed) committed.push_back(*outcome.committed);
  }
  log::info("chaos: {} of {} faults injected, {} detected, {} named rightly, {} false alarm{}{}{}{}{}; {}",
            outcomes_.size(),
            std::count_if(faults_.begin(), faults_.end(),
                          [](const InjectedFault& fault) { return fault.kind != Kind::restore; }),
            detected.size(), right, false_alarms_, false_alarms_ == 1 ? "" : "s", seconds_text("detected", detected),
            seconds_text("fenced", fenced), seconds_text("first new step", resumed),
            seconds_text("committed", committed), run_.chaos().string());
  return right == outcomes_.size() && false_alarms_ == 0;
}

}  // namespace trident
