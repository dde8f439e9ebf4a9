#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/fault.h"
#include "launch/injection_journal.h"
#include "launch/remote_node.h"
#include "launch/verdict.h"
#include "train/metrics/events_file.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// The causes under which a fault is named rightly; empty for one that no verdict names.
[[nodiscard]] std::vector<FaultCause> expected_causes(const InjectedFault& fault);

/// Who keeps the log.
struct ChaosScope {
  int node = -1;  ///< its number; -1: it is the only one
  NodeTimes times{};
};

/// What became of the faults that were injected into a run: a line of `chaos.jsonl` for each, and a summary. The agent
/// says what it sees; storage, snapshots and slow ranks are told by the run's events.
class ChaosLog {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Lines of an earlier agent of the run stay; faults that it had not seen through are followed on.
  ChaosLog(RunDirectory run, std::vector<InjectedFault> faults, ChaosScope scope = {});

  /// A gang failed; found out at `seen`.
  void verdict(int64_t epoch, const Verdict& verdict, Time seen);
  /// All its processes are gone.
  void fenced();
  /// The next gang, as often as the agent looks.
  void look(const GangState& gang);
  /// A gang has ended as it should.
  void ended();
  /// Whether a fault waits for look() to see that training goes on.
  [[nodiscard]] bool waits() const;

  /// Once nothing more will happen: writes what is left and says how it went. Whether every fault that was injected was
  /// detected and named rightly, and nothing else was.
  [[nodiscard]] bool finish();

 private:
  /// Of one injection; times since it.
  struct Outcome {
    InjectedFault fault;
    Injection injection;
    std::optional<double> detected{}, named{}, fenced{}, resumed{}, committed{};
    int named_rank = -1;
    std::string named_host{};
    std::string named_cause{};
    bool right = false;
    bool overtaken = false;  // by another fault of its gang, or the job's end: it may have come to nothing
    bool written = false;
  };

  void take_injections();
  [[nodiscard]] Outcome* blamed(int64_t epoch, const Verdict& verdict);
  [[nodiscard]] bool names(const Outcome& outcome, FaultCause cause, int rank, const std::string& host) const;
  [[nodiscard]] bool follows_from_known(const Verdict& verdict) const;
  [[nodiscard]] bool tolerated(const Outcome& outcome) const;
  static void find_verdict(Outcome& outcome, const EventRecord& event, double after);
  void follow_in_events(Outcome& outcome, const std::vector<EventRecord>& events) const;
  void write(Outcome& outcome);
  [[nodiscard]] static double since(const Outcome& outcome, Time time);

  RunDirectory run_;
  std::vector<InjectedFault> faults_;
  std::vector<std::string> reported_;  // "epoch fault" of lines that are there already
  size_t taken_ = 0;                   // lines of the journal
  std::vector<Outcome> outcomes_;
  int false_alarms_ = 0;
  ChaosScope scope_;
  bool left_to_others_ = false;
};

}  // namespace trident
