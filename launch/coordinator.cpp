#include "launch/coordinator.h"

#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <iostream>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "launch/shared_memory_room.h"
#include "launch/start_failure.h"
#include "train/config/job_plan.h"

namespace trident {
namespace {

constexpr int kFruitlessGangs = 3;
constexpr int kInterrupted = 128 + SIGINT;
constexpr int kRecoveryLookMs = 10;  // until the first new step, which is timed
constexpr int kLauncherEndMs = 200;
constexpr std::chrono::milliseconds kLongLook{1};
constexpr std::chrono::milliseconds kLongestPause{100};

double seconds(std::chrono::steady_clock::duration span) { return std::chrono::duration<double>(span).count(); }

std::optional<double> fixed_limit(const JobConfig& job) {
  const auto& timeout = job.fault.hang_timeout;
  return timeout.is_auto() ? std::nullopt : std::optional(timeout.value().value);
}

// The state that every rank of the gang can go back to.
int64_t committed_by_all(const GangState& gang) {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const RankState& rank : gang.ranks) least = std::min(least, rank.record.committed);
  return gang.ranks.empty() ? -1 : least;
}

// What mpirun says has a moment to come.
void hear_mpirun(Gang& gang, Verdict& verdict, const GangState& state) {
  if (!is_mpirun_to_be_heard(verdict, state)) return;
  gang.wait_for_launcher(kLauncherEndMs);
  const std::string words = gang.launcher_words();
  std::cerr << words << std::flush;
  explain_start_failure(verdict, state, words, lack_of_shared_memory(kMessageSegment));
}

std::vector<std::pair<std::string, int>> hosts_of(const std::vector<GangShare>& shares) {
  std::vector<std::pair<std::string, int>> hosts;
  hosts.reserve(shares.size());
  for (const GangShare& share : shares) hosts.emplace_back(share.node->host(), share.ranks);
  return hosts;
}

ChaosScope chaos_scope(const CoordinatorOptions& options) {
  const NodeTimes times{.timeout = std::chrono::duration<double>(options.job.fault.node_timeout.value)};
  return {options.node_faults == nullptr ? -1 : options.node_faults->node(), times};
}

}  // namespace

Coordinator::Coordinator(CoordinatorOptions options, RunDirectory run, Nodes& nodes)
    : options_(std::move(options)),
      run_(std::move(run)),
      nodes_(nodes),
      log_(run_.epochs()),
      events_(run_.events()),
      limits_(fixed_limit(options_.job)),
      chaos_(run_, options_.faults, chaos_scope(options_)),
      copies_(options_.job.fault.snapshot_interval_steps),
      mesh_(mesh_of(options_.job)),
      places_(static_cast<int>(mesh_.ranks())),
      epoch_(std::max<int64_t>(log_.last_epoch(), run_.previous_attempt())) {
  watch_signals();
}

void Coordinator::watch_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = UniqueDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// The gang before was another's, and is gone.
void Coordinator::take_over(const LostNodes& replaced) {
  const auto verdict = of_lost_nodes(replaced, {});
  recovery_ = {Clock::now(), 0};
  tell(verdict);
  chaos_.verdict(epoch_, verdict, recovery_->seen);
  chaos_.fenced();
  if (epoch_ > 0) log_.end(epoch_, "fault", -1, &verdict);
  epoch_ = std::max(epoch_, options_.least_epoch - 1);
  log_.coordinator(epoch_ + 1, nodes_.self().host());
  places_ = nodes_.places();
  change_layout(options_.remaining(places_).value_or(mesh_));
}

int Coordinator::run() {
  if (options_.replaced) take_over(*options_.replaced);
  for (;;) {
    if (const auto others = nodes_.confirm()) {
      const Verdict verdict = of_lost_nodes(*others, {});
      tell(verdict);
      return verdict.exit_code;
    }
    const End end = run_gang();
    if (!end.verdict && growing_ && !stopping_ && end.exit_code != 0) {
      growing_ = false;
      change_layout(options_.remaining(places_).value_or(mesh_));
      continue;
    }
    if (!end.verdict) {
      if (!abandoned_) nodes_.remove_snapshots();
      return end.exit_code;
    }
    if (const auto code = give_up(end)) return *code;
    ++restarts_;
  }
}

LauncherOptions Coordinator::launcher_options(const std::vector<GangShare>& shares) const {
  LauncherOptions gang;
  gang.epoch = epoch_;
  gang.ranks = static_cast<int>(mesh_.ranks());
  if (options_.slots_given) gang.hosts = hosts_of(shares);
  if (nodes_.several()) gang.remote_shell = options_.remote_shell;
  gang.mpirun = options_.mpirun;
  gang.command = options_.train;
  gang.words = run_.logs() / "mpirun.log";
  for (const auto& [key, value] : {std::pair("dp", mesh_.dp), std::pair("tp", mesh_.tp), std::pair("pp", mesh_.pp)})
    gang.command.push_back(fmt::format("parallelism.{}={}", key, value));
  if (options_.job.fault.snapshot_interval_steps > 0) {
    gang.command.emplace_back("--snapshots");
    gang.command.push_back(nodes_.self().place().snapshots());
  }
  if (suspect_step_) gang.environment.push_back(fmt::format("TRIDENT_SUSPECT_STEP={}", *suspect_step_));
  if (!options_.faults.empty()) {
    gang.environment.push_back("TRIDENT_INJECT=" + to_text(options_.faults));
    gang.environment.push_back("TRIDENT_INJECTED=" + run_.injections().string());
  }
  return gang;
}

Coordinator::End Coordinator::run_gang() {
  ++epoch_;
  const auto shares = nodes_.share_out(static_cast<int>(mesh_.ranks()), epoch_);
  log_.begin(epoch_, mesh_, hosts_of(shares));
  log::info("epoch {}: {} ranks, {}", epoch_, mesh_.ranks(), mesh_.to_string());
  workers_logged_ = false;
  stragglers_ = StragglerWatch(static_cast<size_t>(mesh_.ranks()));
  suspected_ns_.reset();
  copies_.begin(epoch_, mesh_, options_.job.parallelism.rank_order, shares);
  Gang gang(launcher_options(shares), shares, nodes_.self().place(), mesh_, options_.job.parallelism.rank_order);
  End end = supervise(gang);
  const auto fencing = Clock::now();
  if (end.verdict) {
    chaos_.verdict(epoch_, *end.verdict, end.seen);
    gang.kill();
    chaos_.fenced();
    recovery_ = {end.seen, seconds(Clock::now() - fencing)};
    tell(*end.verdict);
  }
  if (!end.verdict && end.exit_code == 0) chaos_.ended();
  limits_.keep();
  const char* outcome = end.verdict          ? "fault"
                        : end.exit_code == 0 ? "finished"
                        : abandoned_         ? "interrupted"
                                             : "preempted";
  log_.end(epoch_, outcome, end.committed, end.verdict ? &*end.verdict : nullptr);
  return end;
}

Coordinator::End Coordinator::supervise(Gang& gang) {
  const int interval = std::max(1, static_cast<int>(options_.job.fault.heartbeat.value * 1e3));
  for (;;) {
    const bool launcher_gone = gang.launcher_status().has_value();
    const bool eager = recovery_ || chaos_.waits();
    wait(gang, launcher_gone ? 1 : eager ? std::min(interval, kRecoveryLookMs) : interval);
    if (gang.launched()) nodes_.commit_members();
    take_signals(gang);
    // Whoever it will be, the verdict waits for them: looks at many ranks would only keep their answers waiting.
    if (suspected_ns_ && !nodes_.answered_since(*suspected_ns_) && !nodes_.any_lost() && !abandoned_) {
      look_cost_ = {};
      continue;
    }
    const auto look_began = Clock::now();
    gang.set_limits(limits_);
    const GangState& state = gang.state();
    chaos_.look(state);
    inject(gang);
    tell_refused(state);
    if (options_.publish) options_.publish(state, epoch_);
    End end{.seen = Clock::now(), .committed = committed_by_all(state)};
    if (const auto code = abandoned_ ? std::optional(kInterrupted) : ended_well(gang)) {
      if (!abandoned_ && recovery_) tell_recovery(state);
      end.exit_code = *code;
      return end;
    }
    if (const auto gone = nodes_.give_up_lost()) {
      end.verdict = of_lost_nodes(*gone, state);
      return end;
    }
    const bool lost = std::any_of(state.ranks.begin(), state.ranks.end(), [](const RankState& r) { return r.lost; });
    // The launcher's end, which explains it, may take a moment to show.
    if (lost && !launcher_gone) {
      gang.wait_for_launcher(kLauncherEndMs);
      if (gang.launcher_status()) continue;
    }
    end.verdict = judge(state);
    if (end.verdict) {
      hear_mpirun(gang, *end.verdict, state);
      return end;
    }
    if (look_began - learned_ >= std::chrono::duration<double>(options_.job.fault.heartbeat.value)) learn(state);
    copy_snapshots(state);
    if (recovery_ && has_gone_on(state.ranks)) tell_recovery(state);
    tell_stragglers(state);
    grow_if_due(gang, state);
    if (gang.all_started() && !std::exchange(workers_logged_, true)) {
      std::vector<int64_t> pids;
      for (const RankState& rank : gang.ranks()) pids.push_back(rank.pid);
      log_.workers(epoch_, pids);
      if (stopping_) gang.signal(SIGUSR1);
    }
    look_cost_ = Clock::now() - look_began;
  }
}

void Coordinator::inject(const Gang& gang) {
  if (options_.node_faults == nullptr) return;
  options_.node_faults->advance({.epoch = epoch_,
                                 .step = furthest_step(gang.ranks()),
                                 .coordinates = true,
                                 .nodes = gang.nodes(),
                                 .coordinator = nodes_.own()});
}

// Looks at many ranks take long: they leave as much time between them for taking in what nodes say.
void Coordinator::wait(Gang& gang, int milliseconds) {
  if (look_cost_ >= kLongLook) std::this_thread::sleep_for(std::min<Clock::duration>(look_cost_, kLongestPause));
  std::vector<pollfd> events{{signals_.get(), POLLIN, 0}};
  gang.watch(events);
  nodes_.watch(events);
  (void)::poll(events.data(), events.size(), nodes_.patience(milliseconds));
  nodes_.advance();
  gang.advance();
}

std::optional<Verdict> Coordinator::judge(const GangState& state) {
  auto verdict = find_verdict(state);
  if (!verdict) suspected_ns_.reset();
  if (!verdict || !nodes_.several()) return verdict;
  if (!suspected_ns_) {
    suspected_ns_ = steady_now_ns();
    nodes_.ask();
  }
  return nodes_.answered_since(*suspected_ns_) ? verdict : std::nullopt;
}

// All ranks have the same one: 0, or that of a stop on demand.
std::optional<int> Coordinator::ended_well(const Gang& gang) const {
  if (!gang.all_ended()) return std::nullopt;
  int code = 0;
  for (const RankState& rank : gang.ranks()) {
    if (rank.record.state != RankRecord::State::finished || !WIFEXITED(rank.wait_status)) return std::nullopt;
    code = std::max(code, WEXITSTATUS(rank.wait_status));
  }
  return code == 0 || code == static_cast<int>(ErrorCode::preempted) ? std::optional(code) : std::nullopt;
}

void Coordinator::learn(const GangState& state) {
  learned_ = Clock::now();
  std::array<DurationCounts, kTrainPhases> all{};
  for (const RankState& rank : state.ranks) {
    for (size_t i = 0; i < kTrainPhases; ++i) all[i].add(rank.record.phases[i]);
  }
  limits_.update(all);
}

void Coordinator::take_signals(const Gang& gang) {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGHUP) continue;
    abandoned_ = abandoned_ || (stopping_ && info.ssi_signo == SIGINT);
    if (!std::exchange(stopping_, true)) log::info("asked to stop: the ranks save at the end of the step");
    gang.signal(SIGUSR1);
  }
}

std::optional<int> Coordinator::give_up(const End& end) {
  const Verdict& verdict = *end.verdict;
  const bool fruitful = end.committed > committed_;
  committed_ = std::max(committed_, end.committed);
  fruitless_ = fruitful ? 0 : fruitless_ + 1;
  failed_step_ = fruitless_ <= 1 || failed_step_ == verdict.step ? verdict.step : -2;
  const bool aside = set_aside(verdict, fruitful);
  if (!aside) {
    if (const auto code = no_more_starts(verdict)) return code;
  }
  lose_place(verdict);
  if (verdict.cause == FaultCause::node_lost) nodes_.gather_again();
  places_ = places_left();
  const auto mesh = options_.remaining(places_);
  if (!mesh) {
    log::error("places for {} ranks are left, and no layout of at least {} (fault.min_ranks) is legal", places_,
               options_.job.fault.min_ranks);
    return static_cast<int>(ErrorCode::peer_lost);
  }
  const int fruitless = fruitless_;
  change_layout(*mesh);
  if (aside) fruitless_ = fruitless;  // a fault that is not the node's would else take one after the other
  return std::nullopt;
}

std::optional<int> Coordinator::no_more_starts(const Verdict& verdict) {
  const int code = static_cast<int>(ErrorCode::peer_lost);
  if (verdict.cause == FaultCause::not_finite && std::exchange(suspect_step_, verdict.step) != verdict.step) {
    log::warning("step {} is done again, to see whether it is the data or the program", verdict.step);
  } else if (verdict.exit_code != 0) {
    if (verdict.cause == FaultCause::not_finite)
      log::error("not finite again at step {}: it follows the data or the program, not a rank", verdict.step);
    // The state before the bad step is on disk. After any other error what memory holds may be newer.
    if (verdict.exit_code == static_cast<int>(ErrorCode::diverged)) nodes_.remove_snapshots();
    return verdict.exit_code;
  }
  if (fruitless_ >= kFruitlessGangs) {
    log::error(
        "{} starts in a row have committed no step{}: giving up; mend the cause and start the same command again",
        fruitless_,
        failed_step_ >= 0 ? fmt::format(", and all failed at step {}: the fault follows the data or the program, "
                                        "not a machine",
                                        failed_step_)
                          : "");
    return code;
  }
  if (restarts_ < options_.job.fault.max_restarts) return std::nullopt;
  log::error("{} restarts are enough (fault.max_restarts): giving up", restarts_);
  return code;
}

// A node whose ranks fail before anything is committed, and again, or where none has ever come on while others have.
bool Coordinator::set_aside(const Verdict& verdict, bool fruitful) {
  if (fruitful) nodes_.prove_members();
  worked_ = worked_ || fruitful;
  const std::string before = std::exchange(blamed_host_, fruitful ? "" : verdict.host);
  const bool last = fruitless_ >= kFruitlessGangs || restarts_ >= options_.job.fault.max_restarts;
  if (fruitful || last || !may_be_the_machine(verdict.cause)) return false;
  const bool again = before == verdict.host;
  if (!again && (!worked_ || nodes_.proven(verdict.host))) return false;
  if (!nodes_.set_aside(verdict.host, true)) return false;
  if (!options_.remaining(places_left())) {
    nodes_.set_aside(verdict.host, false);
    return false;
  }
  tell_set_aside(verdict, again);
  blamed_host_.clear();
  return true;
}

void Coordinator::change_layout(const MeshShape& mesh) {
  if (mesh == std::exchange(mesh_, mesh)) return;
  committed_ = -1;
  fruitless_ = 0;
  log::warning("places for {} ranks: going on with {}", places_, mesh_.to_string());
}

void Coordinator::lose_place(const Verdict& verdict) {
  for (const InjectedFault& fault : options_.faults) {
    if (fault.kind == InjectedFault::Kind::lose && fault.epoch == epoch_ && fault.rank == verdict.rank) ++lost_places_;
  }
}

bool Coordinator::places_return(const GangState& state) {
  const auto due = [&](const InjectedFault& fault) {
    const auto past = [&](const RankState& rank) { return rank.record.done >= fault.step; };
    return fault.kind == InjectedFault::Kind::restore && fault.epoch == epoch_ &&
           std::all_of(state.ranks.begin(), state.ranks.end(), past);
  };
  if (std::any_of(options_.faults.begin(), options_.faults.end(), due)) lost_places_ = 0;
  const int now = places_left();
  return now > std::exchange(places_, std::max(places_, now));
}

// At the end of a step, with a checkpoint, so that nothing is lost.
void Coordinator::grow_if_due(const Gang& gang, const GangState& state) {
  if (growing_ || !has_gone_on(state.ranks) || !places_return(state)) return;
  const auto wider = options_.remaining(places_);
  if (!wider || *wider == mesh_) return;
  growing_ = true;
  log::info("places for {} ranks again: the gang saves and makes room for a wider one", places_);
  gang.signal(SIGUSR1);
}

void Coordinator::copy_snapshots(const GangState& state) {
  int64_t newest = -1;
  for (const RankState& rank : state.ranks) newest = std::max(newest, rank.record.committed);
  if (const auto problem = copies_.advance(newest)) tell_no_copies(newest, *problem);
}

}  // namespace trident
