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
    default: return false;
  }
}

// A gang that it hits fails in that very epoch.
bool fails_at_once(const InjectedFault& fault) {
  return fault.kind != Kind::flip && fault.kind != Kind::slow && fault.kind != Kind::full_disk &&
         fault.kind != Kind::hung_disk;
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
    // Who is done waits for the others at the end, which they may notice first.
    case Kind::leave:
      return {FaultCause::left_early, FaultCause::mismatched_collectives, FaultCause::skipped_collective};
    case Kind::skip: return {FaultCause::skipped_collective};
    case Kind::mismatch: return {FaultCause::mismatched_collectives};
    case Kind::hog: return {FaultCause::out_of_memory};
    case Kind::livelock: return {FaultCause::hang};
    case Kind::nan: return {FaultCause::not_finite};
    case Kind::flip:
      if (fault.in == Place::snapshot) return {};
      return {FaultCause::corrupted, FaultCause::not_finite};
    case Kind::slow:
    case Kind::full_disk:
    case Kind::hung_disk:
    case Kind::restore: return {};
  }
  return {};
}

ChaosLog::ChaosLog(RunDirectory run, std::vector<InjectedFault> faults)
    : run_(std::move(run)), faults_(std::move(faults)) {
  if (faults_.empty()) return;
  truncate_torn_line(run_.chaos());
  for_each_line(run_.chaos(), [this](std::string_view line) {
    const auto words = nlohmann::json::parse(line, nullptr, false);
    if (words.is_object() && words.contains("epoch") && words.contains("fault"))
      reported_.push_back(key_of(words["epoch"], words["fault"]));
  });
}

double ChaosLog::since(const Outcome& outcome, Time time) {
  const int64_t now = std::chrono::nanoseconds(time.time_since_epoch()).count();
  return std::max(0.0, static_cast<double>(now - outcome.injection.steady_ns) * 1e-9);
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
    const int score = 1 + (outcome.fault.rank == verdict.rank ? 1 : 0) + (cause ? 2 : 0);
    if (score <= best_score) continue;
    best = &outcome, best_score = score;
  }
  return best;
}

void ChaosLog::verdict(int64_t epoch, const Verdict& verdict, Time seen) {
  take_injections();
  if (faults_.empty()) return;
  Outcome* const found = blamed(epoch, verdict);
  if (found == nullptr) {
    ++false_alarms_;
    log::error("chaos: no fault was injected that explains: {}", verdict.sentence());
    return;
  }
  const auto causes = expected_causes(found->fault);
  const bool right =
      verdict.rank == found->fault.rank && std::find(causes.begin(), causes.end(), verdict.cause) != causes.end();
  if (!right) log::error("chaos: {} was named wrongly: {}", found->injection.fault, verdict.sentence());
  const Time now = std::chrono::steady_clock::now();
  for (Outcome& outcome : outcomes_) {
    const bool with_it = outcome.injection.epoch == epoch && fails_at_once(outcome.fault) && !outcome.detected;
    if (&outcome != found && !with_it) continue;
    outcome.detected = since(outcome, seen);
    outcome.named = since(outcome, now);
    outcome.named_rank = verdict.rank;
    outcome.named_cause = to_string(verdict.cause);
    outcome.right = right;
  }
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
  for (Outcome& outcome : outcomes_) {
    if (!outcome.fenced || outcome.written) continue;
    if (!outcome.resumed) outcome.resumed = since(outcome, now);
    outcome.committed = since(outcome, now);
    write(outcome);
  }
}

void ChaosLog::follow_in_events(Outcome& outcome, const std::vector<EventRecord>& events) const {
  constexpr double kRounding = 0.002;  // of the events' times
  for (const EventRecord& event : events) {
    const double after = seconds_since_epoch(event.ts).value_or(0) - outcome.injection.wall_s;
    if (after < -kRounding) continue;
    if (!outcome.detected && tells_of(event, outcome.fault)) {
      outcome.detected = outcome.named = std::max(0.0, after);
      outcome.named_rank = event.rank.value_or(-1);
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
                    {"rank", outcome.fault.rank},
                    {"step", outcome.fault.step},
                    {"epoch", outcome.injection.epoch}};
  line["injected"] = utc_timestamp(
      std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::duration<double>(outcome.injection.wall_s))));
  line["detected"] = or_null(outcome.detected);
  line["named"] = or_null(outcome.named);
  line["named_rank"] = outcome.named_rank < 0 ? ordered_json() : ordered_json(outcome.named_rank);
  line["named_cause"] = outcome.named_cause;
  line["right"] = outcome.right;
  line["fenced"] = or_null(outcome.fenced);
  line["resumed"] = or_null(outcome.resumed);
  line["committed"] = or_null(outcome.committed);
  AppendFile(run_.chaos()).append(line.dump() + "\n");
}

bool ChaosLog::finish() {
  take_injections();
  const auto events = read_events(run_.events());
  std::vector<double> detected, fenced, resumed, committed;
  size_t right = 0;
  for (Outcome& outcome : outcomes_) {
    if (expected_causes(outcome.fault).empty()) follow_in_events(outcome, events);
    if (!outcome.detected) log::error("chaos: {} was not detected", outcome.injection.fault);
    if (!outcome.written) write(outcome);
    right += outcome.right ? 1 : 0;
    if (outcome.detected) detected.push_back(*outcome.detected);
    if (outcome.fenced) fenced.push_back(*outcome.fenced);
    if (outcome.resumed) resumed.push_back(*outcome.resumed);
    if (outcome.committed) committed.push_back(*outcome.committed);
  }
  const size_t found = detected.size();
  log::info("chaos: {} of {} faults injected, {} detected, {} named rightly, {} false alarm{}{}{}{}{}; {}",
            outcomes_.size(),
            std::count_if(faults_.begin(), faults_.end(),
                          [](const InjectedFault& fault) { return fault.kind != Kind::restore; }),
            found, right, false_alarms_, false_alarms_ == 1 ? "" : "s", seconds_text("detected", detected),
            seconds_text("fenced", fenced), seconds_text("first new step", resumed),
            seconds_text("committed", committed), run_.chaos().string());
  return found == outcomes_.size() && right == outcomes_.size() && false_alarms_ == 0;
}

}  // namespace trident
