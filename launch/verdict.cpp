#include "launch/verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "launch/mismatch.h"
#include "launch/node_verdict.h"
#include "launch/wait_graph.h"

namespace trident {
namespace {

using State = RankRecord::State;

constexpr int kPeerLost = static_cast<int>(ErrorCode::peer_lost);
constexpr const char* kDisagree = "ranks disagree about where training ends";
constexpr const char* kDifferentWays =
    "ranks take different ways through the program: set fault.compare_collectives to find the first";

const RankState& state_of(const GangState& gang, int rank) { return gang.ranks[static_cast<size_t>(rank)]; }

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

std::string call_text(const GroupRecord& group) {
  if (group.peer >= 0)
    return fmt::format("message {} {} rank {} of group {}", group.left + 1,
                       group.op == CollectiveOp::send ? "to" : "from", group.peer, group.group);
  return fmt::format("{} #{} ({} bytes) of group {}", to_string(group.op), group.left + 1, group.bytes, group.group);
}

// Of many ranks the first stand for all.
std::string ranks_text(const std::vector<int>& ranks) {
  constexpr ptrdiff_t kMost = 16, kNamed = 8;
  const ptrdiff_t named = std::ssize(ranks) > kMost ? kNamed : std::ssize(ranks);
  std::string text =
      fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(ranks.begin(), ranks.begin() + named, ", "));
  if (named < std::ssize(ranks)) text += fmt::format(" and {} more", std::ssize(ranks) - named);
  return text;
}

std::string waiters_text(const GangState& gang, const WaitGraph& graph, int culprit) {
  const std::vector<int> waiters = graph.waiters_for(culprit);
  if (waiters.empty()) return {};
  return fmt::format("{} {} for it in {}", ranks_text(waiters), waiters.size() == 1 ? "waits" : "wait",
                     call_text(*waited_in(state_of(gang, waiters.front()).record)));
}

/// Whether a rank's silence has to be longer than its phase may take.
enum class Patience { as_learned, none };

double limit_of(const RankState& rank, Patience patience) { return patience == Patience::none ? 0 : rank.limit_s; }
bool overdue(const RankState& rank, Patience patience) { return rank.idle_s >= limit_of(rank, patience); }

Verdict of_standstill(const GangState& gang, const WaitGraph& graph, const RankState& rank, Patience patience) {
  const bool left = rank.record.state == State::finished;
  Verdict verdict = about(rank, rank.stopped ? FaultCause::stopped : left ? FaultCause::left_early : FaultCause::hang);
  verdict.what = rank.stopped ? "is stopped (SIGSTOP)" : left ? "left the training early" : "stands still";
  verdict.evidence =
      fmt::format("no heartbeat for {:.1f} s, its phase may take {:.1f} s", rank.idle_s, limit_of(rank, patience));
  if (const auto waiters = waiters_text(gang, graph, rank.rank); !waiters.empty()) verdict.evidence += "; " + waiters;
  verdict.advice = rank.stopped ? "somebody sent SIGSTOP, or a debugger holds it"
                   : left       ? kDisagree
                                : "if it recurs on the same host, test that host";
  return verdict;
}

// Where all wait for one another: who skipped a call is ahead of those who wait in it, or, in the same phase, has more
// of them waiting for it than each of them. Null where nobody is waited for.
const RankState* furthest_of(const GangState& gang, const std::vector<size_t>& waiters) {
  const RankState* culprit = nullptr;
  std::tuple<int64_t, TrainPhase, size_t> furthest;
  for (const RankState& rank : gang.ranks) {
    const size_t count = waiters[static_cast<size_t>(rank.rank)];
    const std::tuple at(rank.record.step, rank.record.phase, count);
    if (count == 0 || (culprit != nullptr && at <= furthest)) continue;
    culprit = &rank;
    furthest = at;
  }
  return culprit;
}

Verdict of_cycle(const GangState& gang, const WaitGraph& graph, const RankState& culprit) {
  Verdict verdict = about(culprit, FaultCause::skipped_collective);
  verdict.what = "has skipped a call";
  verdict.evidence = fmt::format("{}, while it is in {}", waiters_text(gang, graph, culprit.rank),
                                 call_text(*waited_in(culprit.record)));
  verdict.advice = kDifferentWays;
  return verdict;
}

// The one of several candidates that a stop explains, or that is behind the others.
const RankState* choose(const std::vector<const RankState*>& candidates) {
  const auto worse = [](const RankState* a, const RankState* b) {
    return std::tuple(!a->stopped, a->record.progress()) < std::tuple(!b->stopped, b->record.progress());
  };
  return *std::min_element(candidates.begin(), candidates.end(), worse);
}

// Ranks that wait for nobody, or only for the others' end, and that somebody waits for or that are late themselves.
std::vector<const RankState*> roots_of(const GangState& gang, const WaitGraph& graph,
                                       const std::vector<size_t>& waiters) {
  std::vector<const RankState*> roots;
  for (const RankState& rank : gang.ranks) {
    const bool finished = rank.record.state == State::finished;
    if (finished && waiters[static_cast<size_t>(rank.rank)] == 0) continue;
    if (rank.pid != 0 && (finished || !graph.waits(rank.rank))) roots.push_back(&rank);
  }
  return roots;
}

std::optional<Verdict> find_standstill(const GangState& gang, Patience patience) {
  const auto late = [&](const RankState& rank) { return overdue(rank, patience); };
  if (std::none_of(gang.ranks.begin(), gang.ranks.end(), late)) return std::nullopt;
  std::vector<const RankState*> candidates;
  for (const RankState& rank : gang.ranks) {
    if (rank.stopped && late(rank)) candidates.push_back(&rank);
  }
  const WaitGraph graph(gang);
  const std::vector<size_t> waiters = graph.waiter_counts();
  const auto roots = roots_of(gang, graph, waiters);
  if (candidates.empty())
    std::copy_if(roots.begin(), roots.end(), std::back_inserter(candidates), [&](auto* rank) { return late(*rank); });
  if (!candidates.empty()) return of_standstill(gang, graph, *choose(candidates), patience);
  if (!roots.empty() || !std::all_of(gang.ranks.begin(), gang.ranks.end(), late)) return std::nullopt;
  const RankState* furthest = furthest_of(gang, waiters);
  if (furthest != nullptr && graph.waits(furthest->rank)) return of_cycle(gang, graph, *furthest);
  // None has started, or none comes to its end.
  return of_standstill(gang, graph, furthest == nullptr ? gang.ranks.front() : *furthest, patience);
}

// ---- what ranks found out

Verdict of_mismatch(const GangState& gang, const Mismatch& found) {
  const RankState& culprit = state_of(gang, found.rank);
  const bool left = culprit.record.state == State::finished;
  Verdict verdict = about(culprit, left ? FaultCause::left_early : FaultCause::mismatched_collectives);
  verdict.what = left ? "left the training early" : "made another call than the others";
  verdict.evidence = found.evidence;
  verdict.advice = left ? kDisagree : kDifferentWays;
  return verdict;
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
    if (!told && (!rank.ended || rank.ended_well())) continue;
    if (!told && rank.lost && !gang.launcher_end.empty()) continue;
    const bool lost_another = rank.error() == kPeerLost;
    const RankState*& best = lost_another ? witness : first;
    if (best == nullptr || key(rank) < key(*best)) best = &rank;
  }
  if (first != nullptr) return of_death(*first);
  if (witness == nullptr) return std::nullopt;
  // A rank that lost another is a witness. What it lost may be found by who waits for whom.
  const auto blamed = find_standstill(gang, Patience::none);
  return blamed ? blamed : of_death(*witness);
}

// A rank that tells of an error still says it in its log.
bool is_dead(const RankState& rank) {
  constexpr double kLastWords = 1.0;
  const bool told = rank.record.state == State::failed || rank.record.state == State::crashed;
  return (rank.ended && !rank.ended_well()) || (told && rank.idle_s >= kLastWords);
}

Verdict launcher_lost(const GangState& gang) {
  Verdict verdict;
  verdict.cause = FaultCause::launcher_lost;
  verdict.what = "mpirun " + gang.launcher_end;
  verdict.advice = "its own words, if any, are above";
  return verdict;
}

bool all_ended_well(const GangState& gang) {
  return std::all_of(gang.ranks.begin(), gang.ranks.end(),
                     [](const RankState& r) { return r.ended && r.ended_well(); });
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

bool may_be_the_machine(FaultCause cause) {
  switch (cause) {
    case FaultCause::killed:
    case FaultCause::crash:
    case FaultCause::out_of_memory:
    case FaultCause::exit:
    case FaultCause::error:
    case FaultCause::stopped:
    case FaultCause::hang:
    case FaultCause::corrupted:
    case FaultCause::launcher_lost: return true;
    default: return false;
  }
}

std::string Verdict::sentence() const {
  std::string text = rank < 0 ? what : fmt::format("rank {} (pid {} on {}) {}, in {}", rank, pid, host, what, phase);
  if (!evidence.empty()) text += ": " + evidence;
  if (!advice.empty()) text += "; " + advice;
  return text;
}

std::optional<Verdict> find_verdict(const GangState& gang) {
  if (std::any_of(gang.ranks.begin(), gang.ranks.end(), is_dead)) {
    if (auto state_fault = find_state_fault(gang)) return state_fault;
    if (const auto mismatch = find_mismatch(gang)) return of_mismatch(gang, *mismatch);
    if (auto daemon = find_lost_daemon(gang)) return daemon;
    if (auto death = find_death(gang)) return death;
  }
  if (all_ended_well(gang)) return std::nullopt;
  if (auto daemon = find_lost_daemon(gang)) return daemon;
  if (!gang.launcher_end.empty()) return launcher_lost(gang);
  return find_standstill(gang, Patience::as_learned);
}

}  // namespace trident
