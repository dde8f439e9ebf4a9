// What a heartbeat costs: nanoseconds for each thing that the training thread tells, and, for the ranks of a running
// job whose heartbeats are named, what share of a rank's time its beats take.
//   bench_heartbeat [/trident.ID.heartbeat.EPOCH]

#include "launch/heartbeat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace trident {
namespace {

constexpr int kBeats = 200'000;
constexpr int kRounds = 15;
constexpr double kWatchSeconds = 2;

// The least of several rounds' means.
template <class Tell>
double nanoseconds(const char* what, const Tell& tell) {
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kBeats; ++i) tell(i);
    const std::chrono::duration<double, std::nano> whole = std::chrono::steady_clock::now() - begin;
    best = std::min(best, whole.count() / kBeats);
  }
  fmt::print("{:24} {:6.1f} ns\n", what, best);
  return best;
}

// The dearest of them.
double measure_beats() {
  const std::string name = "/trident.bench.heartbeat." + std::to_string(getpid());
  HeartbeatMemory memory = HeartbeatMemory::create(name, 1, 1);
  HeartbeatMemory::remove(name);
  Heartbeat heartbeat(std::move(memory), 0, 0);
  const std::array<std::string, 6> groups{"world", "dp", "tp", "pp", "tp replicas", "tied"};
  std::vector<ProgressRecord> records;
  records.reserve(groups.size());
  for (const std::string& group : groups) records.push_back({group, 1, CollectiveOp::all_reduce, 4096});
  const auto record = [&](int i) -> const ProgressRecord& { return records[static_cast<size_t>(i) % records.size()]; };
  return std::max({
      nanoseconds("phase", [&](int i) { heartbeat.phase(TrainPhase::data, i); }),
      nanoseconds("action",
                  [&](int i) {
                    heartbeat.action({0, pipeline::Op::forward, i});
                  }),
      nanoseconds("operation entered", [&](int i) { heartbeat.entered(record(i)); }),
      nanoseconds("operation left", [&](int i) { heartbeat.left(record(i)); }),
      nanoseconds("wait", [&](int i) { heartbeat.waits(record(i)); }),
      nanoseconds("step done", [&](int i) { heartbeat.step_done(i, 1.0, 1.0); }),
  });
}

void watch(const std::string& name, double dearest_ns) {
  const HeartbeatMemory memory = HeartbeatMemory::attach(name);
  std::vector<RankRecord> before;
  before.reserve(static_cast<size_t>(memory.slots()));
  for (int i = 0; i < memory.slots(); ++i) before.push_back(memory.read(i));
  std::this_thread::sleep_for(std::chrono::duration<double>(kWatchSeconds));
  for (int i = 0; i < memory.slots(); ++i) {
    const RankRecord now = memory.read(i);
    const RankRecord& then = before[static_cast<size_t>(i)];
    const double beats = static_cast<double>(now.beats - then.beats);
    const double steps = static_cast<double>(now.done - then.done);
    fmt::print("rank {}: {:.0f} beats in {:.0f} steps: at most {:.4f} % of its time\n", now.rank, beats, steps,
               100 * beats * dearest_ns * 1e-9 / kWatchSeconds);
  }
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) {
  const double dearest_ns = trident::measure_beats();
  if (argc > 1) trident::watch(argv[1], dearest_ns);
  return 0;
}
