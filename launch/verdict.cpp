#include "launch/verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <map>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "launch/node_verdict.h"

namespace trident {
namespace {

using State = RankRecord::State;

constexpr int kPeerLost = static_cast<int>(ErrorCode::peer_lost);
constexpr int kInternal = static_cast<int>(ErrorCode::internal);

const RankState& state_of(const GangState& gang, int rank) { return gang.ranks[static_cast<size_t>(rank)]; }

bool ended_well(const RankState& rank) {
  return rank.record.state == State::finished && (!rank.ended || WIFEXITED(rank.wait_status));
}

std::string phase_text(const RankRecord& record) {
  std::string text(to_string(record.phase));
  if (record.step > 0 && record.phase != TrainPhase::ending) text += fmt::format(" of step {}", record.step);
  if (record.action) text += fmt::format(" ({})", pipeline::to_string(*record.action));
  return text;
}

std::string signal_text(int signal) {
  const char* name = sigabbrev_np(signal);
  return name == nullptr ? fmt::format("signal {}", signal) : fmt::format("signal {} (SIG{})", signal, name);
}

Verdict about(const RankState& rank, FaultCause cause) {
  Verdict verdict;
  verdict.cause = cause;
  verdict.rank = rank.rank;
  verdict.pid = rank.pid;
  verdict.host = rank.host;
  verdict.phase = phase_text(rank.record);
  verdict.step = std::max<int64_t>(rank.record.step, 0);
  verdict.idle_s = rank.idle_s;
  return verdict;
}

bool by_program_error(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGABRT ||
         signal == SIGSYS || signal == SIGTRAP;
}

// ---- deaths

Verdict killed_by(const RankState& rank, int signal) {
  const bool memory = signal == SIGKILL && rank.kernel_killed;
  const bool own = by_program_error(signal);
  Verdict verdict = about(rank, memory ? FaultCause::out_of_memory : own ? FaultCause::crash : FaultCause::killed);
  verdict.what = memory ? "was killed by the kernel for want of memory"
                 : own  ? "crashed with " + signal_text(signal)
                        : "was killed by " + signal_text(signal);
  if (memory) verdict.evidence = "the cgroup's oom_kill count has grown";
  verdict.advice = memory ? "lower training.micro_batch_size or set training.recompute: full"
                   : own  ? "its stack is in the log above"
                          : "somebody sent it: journalctl -k, or the batch system's log, may say who";
  return verdict;
}

bool repeats_itself(int exit_code) {
  switch (static_cast<ErrorCode>(exit_code)) {
    case ErrorCode::usage:
    case ErrorCode::bad_data:
    case ErrorCode::input_missing:
    case ErrorCode::io:
    case ErrorCode::diverged:
    case ErrorCode::config: return true;
    default: return false;
  }
}

Verdict told_error(const RankState& rank) {
  Verdict verdict = about(rank, FaultCause::error);
  verdict.what = fmt::format("ended with an error (exit code {})", rank.record.exit_code);
  verdict.evidence = rank.record.message;
  if (repeats_itself(rank.record.exit_code)) {
    verdict.exit_code = rank.record.exit_code;
    verdict.advice = "a restart would only repeat it";
  }
  return verdict;
}

Verdict silent_exit(const RankState& rank) {
  Verdict verdict = about(rank, FaultCause::exit);
  verdict.what = fmt::format("left with exit code {} before training ended", WEXITSTATUS(rank.wait_status));
  verdict.advice = "something in the process called exit()";
  return verdict;
}

Verdict of_death(const RankState& rank) {
  if (rank.record.state == State::crashed) return killed_by(rank, rank.record.signal);
  if (rank.record.state == State::failed) return told_error(rank);
  if (WIFSIGNALED(rank.wait_status)) return killed_by(rank, WTERMSIG(rank.wait_status));
  return silent_exit(rank);
}

// ---- standing still

const GroupRecord* find_group(const RankRecord& record, std::string_view name, int peer, CollectiveOp op) {
  for (const GroupRecord& group : record.groups) {
    if (group.group == name && group.peer == peer && (peer < 0 || group.op == op)) return &group;
  }
  return nullptr;
}

uint64_t entered(const RankRecord& record, std::string_view name, int peer = -1,
                 CollectiveOp op = CollectiveOp::barrier) {
  const GroupRecord* group = find_group(record, name, peer, op);
  return group == nullptr ? 0 : group->entered;
}

// It has begun the call but does not move it on: calls move only while their ranks wait or begin others.
bool neglects(const RankRecord& record, uint64_t call, std::string_view name, int peer = -1,
              CollectiveOp op = CollectiveOp::barrier) {
  const GroupRecord* group = find_group(record, name, peer, op);
  return group != nullptr && group->entered >= call && group->left < call && !record.waits_in;
}

std::string call_text(const GroupRecord& group) {
  if (group.peer >= 0)
    return fmt::format("message {} {} rank {} of group {}", group.left + 1,
                       group.op == CollectiveOp::send ? "to" : "from", group.peer, group.group);
  return fmt::format("{} #{} ({} bytes) of group {}", to_string(group.op), group.left + 1, group.bytes, group.group);
}

const GroupRecord* waited_in(const RankRecord& record) {
  return record.waits_in ? &record.groups[*record.waits_in] : nullptr;
}

std::vector<int> waiters_for(const GangState& gang, int culprit) {
  std::vector<int> waiters;
  for (const RankState& rank : gang.ranks) {
    const auto targets = waits_for(gang, rank.rank);
    if (std::find(targets.begin(), targets.end(), culprit) != targets.end()) waiters.push_back(rank.rank);
  }
  return waiters;
}

std::string ranks_text(const std::vector<int>& ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(ranks, ", "));
}

std::string waiters_text(const GangState& gang, int culprit) {
  const std::vector<int> waiters = waiters_for(gang, culprit);
  if (waiters.empty()) return {};
  return fmt::format("{} {} for it in {}", ranks_text(waiters), waiters.size() == 1 ? "waits" : "wait",
                     call_text(*waited_in(state_of(gang, waiters.front()).record)));
}

auto position(const RankState& rank) { return std::tuple(rank.record.step, rank.record.phase); }

bool overdue(const RankState& rank) { return rank.idle_s >= rank.limit_s; }

Verdict of_standstill(const GangState& gang, const RankState& rank) {
  const bool left = rank.record.state == State::finished;
  Verdict verdict = about(rank, rank.stopped ? FaultCause::stopped : left ? FaultCause::left_early : FaultCause::hang);
  verdict.what = rank.stopped ? "is stopped (SIGSTOP)" : left ? "left the training early" : "stands still";
  verdict.evidence = fmt::format("no heartbeat for {:.1f} s, its phase may take {:.1f} s", rank.idle_s, rank.limit_s);
  if (const auto waiters = waiters_text(gang, rank.rank); !waiters.empty()) verdict.evidence += "; " + waiters;
  verdict.advice = rank.stopped ? "somebody sent SIGSTOP, or a debugger holds it"
                   : left       ? "ranks disagree about where training ends"
                                : "if it recurs on the same host, test that host";
  return verdict;
}

// All wait for one another. Who skipped a call is ahead of those who wait in it, or, in the same phase, has more of
// them waiting for it than each of them.
Verdict of_cycle(const GangState& gang) {
  const RankState* culprit = nullptr;
  std::tuple<int64_t, TrainPhase, size_t> furthest;
  for (const RankState& rank : gang.ranks) {
    const size_t waiters = waiters_for(gang, rank.rank).size();
    const std::tuple at(rank.record.step, rank.record.phase, waiters);
    if (waiters == 0 || (culprit != nullptr && at <= furthest)) continue;
    culprit = &rank;
    furthest = at;
  }
  Verdict verdict = about(*culprit, FaultCause::skipped_collective);
  verdict.what = "has skipped a call";
  verdict.evidence =
      fmt::format("{}, while it is in {}", waiters_text(gang, culprit->rank), call_text(*waited_in(culprit->record)));
  verdict.advice = "ranks take different ways through the program: set fault.compare_collectives to find the first";
  return verdict;
}

// The one of several candidates that a stop explains, or that is behind the others.
const RankState* choose(const std::vector<const RankState*>& candidates) {
  const auto worse = [](const RankState* a, const RankState* b) {
    return std::tuple(!a->stopped, position(*a)) < std::tuple(!b->stopped, position(*b));
  };
  return *std::min_element(candidates.begin(), candidates.end(), worse);
}

// Ranks that wait for nobody, and that somebody waits for or that are late themselves.
std::vector<const RankState*> roots_of(const GangState& gang) {
  std::vector<const RankState*> roots;
  for (const RankState& rank : gang.ranks) {
    if (ended_well(rank) && waiters_for(gang, rank.rank).empty()) continue;
    if (rank.pid != 0 && waits_for(gang, rank.rank).empty()) roots.push_back(&rank);
  }
  return roots;
}

std::optional<Verdict> find_standstill(const GangState& gang) {
  std::vector<const RankState*> late;
  for (const RankState& rank : gang.ranks) {
    if (rank.stopped && overdue(rank)) late.push_back(&rank);
  }
  const auto roots = roots_of(gang);
  if (late.empty())
    std::copy_if(roots.begin(), roots.end(), std::back_inserter(late), [](auto* r) { return overdue(*r); });
  if (!late.empty()) return of_standstill(gang, *choose(late));
  const bool all_late = std::all_of(gang.ranks.begin(), gang.ranks.end(), overdue);
  if (roots.empty() && all_late && !gang.ranks.empty()) return of_cycle(gang);
  return std::nullopt;
}

// ---- ranks that found out that they made different calls

struct OddOne {
  int rank = -1;
  const GroupRecord* own = nullptr;
  const GroupRecord* others = nullptr;
};

// In one group, among ranks that began equally many calls: who began another one than most. Of equal halves, who is
// ahead.
std::optional<OddOne> odd_one_out(const GangState& gang, int reporter, const GroupRecord& seen) {
  std::map<std::pair<CollectiveOp, int64_t>, std::vector<int>> votes;
  for (const int member : group_members(gang, reporter, seen.group)) {
    const GroupRecord* group = find_group(state_of(gang, member).record, seen.group, -1, seen.op);
    if (group != nullptr && group->entered == seen.entered) votes[{group->op, group->bytes}].push_back(member);
  }
  if (votes.size() < 2) return std::nullopt;
  const auto rarer = [&](const auto& a, const auto& b) {
    if (a.second.size() != b.second.size()) return a.second.size() < b.second.size();
    return position(state_of(gang, a.second.front())) > position(state_of(gang, b.second.front()));
  };
  const auto fewest = std::min_element(votes.begin(), votes.end(), rarer);
  const auto most = std::max_element(votes.begin(), votes.end(), rarer);
  const int rank = fewest->second.front();
  return OddOne{rank, find_group(state_of(gang, rank).record, seen.group, -1, seen.op),
                find_group(state_of(gang, most->second.front()).record, seen.group, -1, seen.op)};
}

std::optional<Verdict> find_mismatch(const GangState& gang) {
  for (const RankState& rank : gang.ranks) {
    if (rank.record.state != State::failed || rank.record.exit_code != kInternal) continue;
    for (const GroupRecord& group : rank.record.groups) {
      if (group.peer >= 0 || group.left == group.entered) continue;
      const auto odd = odd_one_out(gang, rank.rank, group);
      if (!odd) continue;
      const RankState& culprit = state_of(gang, odd->rank);
      Verdict verdict = about(culprit, FaultCause::mismatched_collectives);
      verdict.what = "made another call than the others";
      verdict.evidence = fmt::format("as call #{} of group {} it began {} of {} bytes, others {} of {} bytes",
                                     odd->own->entered, group.group, to_string(odd->own->op), odd->own->bytes,
                                     to_string(odd->others->op), odd->others->bytes);
      verdict.advice = "ranks take different ways through the program: set fault.compare_collectives to find the first";
      return verdict;
    }
  }
  return std::nullopt;
}

// What the ranks found out together, about one of them or about none.
std::optional<Verdict> find_state_fault(const GangState& gang) {
  for (const RankState& rank : gang.ranks) {
    if (rank.record.state != State::failed || !rank.record.blame) continue;
    const Blame& blame = *rank.record.blame;
    const bool known = blame.rank >= 0 && blame.rank < std::ssize(gang.ranks);
    const bool corrupted = blame.kind == StateFault::Kind::corrupted;
    Verdict verdict =
        about(known ? state_of(gang, blame.rank) : rank, corrupted ? FaultCause::corrupted : FaultCause::not_finite);
    if (!known) verdict.rank = -1, verdict.pid = 0;
    verdict.what = corrupted ? "holds other bits than it should" : "computes values that are not finite";
    if (!known) verdict.what = corrupted ? "ranks hold different bits" : "loss or gradients are not finite";
    verdict.step = blame.step;
    verdict.evidence = rank.record.message;
    if (!corrupted) verdict.exit_code = static_cast<int>(ErrorCode::diverged);
    return verdict;
  }
  return std::nullopt;
}

// A rank that lost another is a witness. What it lost may be found by who waits for whom.
std::optional<Verdict> blamed_by_witness(const GangState& gang) {
  GangState late = gang;
  for (RankState& rank : late.ranks) rank.limit_s = 0;
  return find_standstill(late);
}

std::optional<Verdict> find_death(const GangState& gang) {
  const RankState* first = nullptr;
  const RankState* witness = nullptr;
  // A rank that told of its end has done so before anybody could end others for it.
  const auto key = [](const RankState& rank) {
    const bool told = rank.record.state == State::failed || rank.record.state == State::crashed;
    return std::tuple(!told, told ? rank.record.ended_ns : int64_t{rank.end_order});
  };
  for (const RankState& rank : gang.ranks) {
    const bool told = rank.record.state == State::failed || rank.record.state == State::crashed;
    if (!told && (!rank.ended || ended_well(rank))) continue;
    if (!told && rank.lost && !gang.launcher_end.empty()) continue;
    const bool lost_another = rank.record.state == State::failed && rank.record.exit_code == kPeerLost;
    const RankState*& best = lost_another ? witness : first;
    if (best == nullptr || key(rank) < key(*best)) best = &rank;
  }
  if (first != nullptr) return of_death(*first);
  if (witness == nullptr) return std::nullopt;
  const auto blamed = blamed_by_witness(gang);
  return blamed ? blamed : of_death(*witness);
}

// A rank that tells of an error still says it in its log.
bool is_dead(const RankState& rank) {
  constexpr double kLastWords = 1.0;
  const bool told = rank.record.state == State::failed || rank.record.state == State::crashed;
  return (rank.ended && !ended_well(rank)) || (told && rank.idle_s >= kLastWords);
}

Verdict launcher_lost(const GangState& gang) {
  Verdict verdict;
  verdict.cause = FaultCause::launcher_lost;
  verdict.what = "mpirun " + gang.launcher_end;
  verdict.advice = "its own words, if any, are above";
  return verdict;
}

bool all_ended_well(const GangState& gang) {
  return std::all_of(gang.ranks.begin(), gang.ranks.end(), [](const RankState& r) { return r.ended && ended_well(r); });
}

}  // namespace

std::string_view to_string(FaultCause cause) {
  constexpr std::string_view names[] = {"killed",
                                        "crash",
                                        "out of memory",
                                        "exit",
                                        "error",
                                        "stopped",
                                        "hang",
                                        "skipped collective",
                                        "mismatched collectives",
                                        "left early",
                                        "not finite",
                                        "corrupted",
                                        "launcher lost",
                                        "node lost"};
  return names[static_cast<size_t>(cause)];
}

std::string Verdict::sentence() const {
  std::string text = rank < 0 ? what : fmt::format("rank {} (pid {} on {}) {}, in {}", rank, pid, host, what, phase);
  if (!evidence.empty()) text += ": " + evidence;
  if (!advice.empty()) text += "; " + advice;
  return text;
}

std::vector<int> group_members(const GangState& gang, int rank, std::string_view group) {
  std::vector<int> members;
  const auto axis = group.starts_with("tp") ? Axis::tp : group.starts_with("dp") ? Axis::dp : Axis::pp;
  const bool world = group != "tied" && !group.starts_with(to_string(axis));
  const int size = world ? static_cast<int>(gang.ranks.size()) : gang.mesh[axis];
  const MeshCoordinates at = mesh_coordinates(gang.mesh, rank, gang.order);
  for (int i = 0; i < size; ++i) {
    MeshCoordinates other = at;
    (axis == Axis::tp ? other.tp : axis == Axis::dp ? other.dp : other.pp) = i;
    members.push_back(world ? i : mesh_rank(gang.mesh, other, gang.order));
  }
  // The tied embedding's two ends.
  if (group == "tied" && members.size() > 2) members = {members.front(), members.back()};
  return members;
}

std::vector<int> waits_for(const GangState& gang, int rank) {
  const RankState& waiter = state_of(gang, rank);
  const GroupRecord* in = waited_in(waiter.record);
  if (in == nullptr) return {};
  const uint64_t call = in->left + 1;
  const std::vector<int> members = group_members(gang, rank, in->group);
  std::vector<int> targets;
  if (in->peer < 0) {
    for (const int member : members) {
      const RankRecord& other = state_of(gang, member).record;
      // Of a part of an axis, ranks without the group are no members.
      const bool part = in->group == "tp replicas" && find_group(other, in->group, -1, in->op) == nullptr;
      if (member != rank && !part && entered(other, in->group) < call) targets.push_back(member);
    }
    if (!targets.empty()) return targets;
    for (const int member : members) {
      if (member != rank && neglects(state_of(gang, member).record, call, in->group)) targets.push_back(member);
    }
    return targets;
  }
  if (in->peer >= static_cast<int>(members.size())) return {};
  const int own = static_cast<int>(std::find(members.begin(), members.end(), rank) - members.begin());
  const int peer = members[static_cast<size_t>(in->peer)];
  const auto counterpart = in->op == CollectiveOp::send ? CollectiveOp::recv : CollectiveOp::send;
  const RankRecord& other = state_of(gang, peer).record;
  if (entered(other, in->group, own, counterpart) < call || neglects(other, call, in->group, own, counterpart))
    targets.push_back(peer);
  return targets;
}

std::optional<Verdict> find_verdict(const GangState& gang) {
  if (std::any_of(gang.ranks.begin(), gang.ranks.end(), is_dead)) {
    if (auto state_fault = find_state_fault(gang)) return state_fault;
    if (auto mismatch = find_mismatch(gang)) return mismatch;
    if (auto daemon = find_lost_daemon(gang)) return daemon;
    if (auto death = find_death(gang)) return death;
  }
  if (all_ended_well(gang)) return std::nullopt;
  if (auto daemon = find_lost_daemon(gang)) return daemon;
  if (!gang.launcher_end.empty()) return launcher_lost(gang);
  return find_standstill(gang);
}

}  // namespace trident
