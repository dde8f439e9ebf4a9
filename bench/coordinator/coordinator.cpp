// What a coordinator of many ranks costs on one core, and how soon it finds a fault. The ranks are simulated: their
// nodes' agents are another process that talks to a real coordinator over real connections.
//   bench_coordinator                                        both tables, for 16, 1024 and 16384 ranks: 2 minutes
//   bench_coordinator --beats SECONDS RANKS...               only what beats cost
//   bench_coordinator --verdicts RANKS...                    only faults and verdicts
//   bench_coordinator --verdicts --without-times RANKS...    for a test

#include "launch/coordinator.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <new>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "bench/coordinator/simulated_nodes.h"
#include "core/error.h"
#include "core/log.h"
#include "launch/status/exposition.h"
#include "launch/status/rank_board.h"
#include "launch/status/run_status.h"

namespace trident {
namespace {

constexpr double kBeat = 0.25;
constexpr unsigned kWatchdogS = 120;
constexpr int64_t kMissedNs = 500'000'000;  // two beats

/// What both processes and their parent see.
struct Shared {
  SimulationLog log;
  std::atomic<uint16_t> port{0};
  std::atomic<int64_t> looks{0};
  std::atomic<int64_t> longest_gap_ns{0};  ///< between two beats of a node that the coordinator has taken in
  std::atomic<int64_t> missed{0};          ///< such gaps of more than two beats
  std::atomic<int64_t> cpu_ns{0};          ///< of the coordinator's process, while steady
  std::atomic<int64_t> steady_ns{0};       ///< for how long
  std::atomic<int64_t> rss_before{0};      ///< bytes
  std::atomic<int64_t> rss{0};
};

int64_t cpu_now() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

/// A folder that goes with this object, with a launcher that starts nothing.
class Workplace {
 public:
  Workplace() {
    std::filesystem::create_directories(path_);
    std::ofstream(path_ / "mpirun") << "#!/bin/sh\nexec sleep 1000\n";
    std::filesystem::permissions(path_ / "mpirun", std::filesystem::perms::owner_all);
  }
  ~Workplace() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("bench_coordinator." + std::to_string(::getpid()));
};

/// Looks on at every look of the coordinator.
class Onlooker {
 public:
  Onlooker(Shared& shared, int nodes)
      : shared_(shared), beats_(static_cast<size_t>(nodes)), taken_ns_(static_cast<size_t>(nodes)) {}

  void look(const GangState& gang) {
    const int64_t now = steady_now_ns();
    const bool steady = shared_.log.steady;
    if (steady) ++shared_.looks;
    for (size_t node = 0; node < beats_.size(); ++node) {
      const uint64_t beats = gang.ranks[node * SimulatedGang::kRanksPerNode].record.beats;
      if (std::exchange(beats_[node], beats) == beats) continue;
      const int64_t gap = now - std::exchange(taken_ns_[node], now);
      if (!steady || began_ns_ == 0) continue;
      if (gap > shared_.longest_gap_ns) shared_.longest_gap_ns = gap;
      if (gap > kMissedNs) ++shared_.missed;
    }
    if (steady && began_ns_ == 0) began_ns_ = now, cpu_ns_ = cpu_now();
    if (began_ns_ == 0 || !steady) return;
    shared_.steady_ns = now - began_ns_;
    shared_.cpu_ns = cpu_now() - cpu_ns_;
    shared_.rss = resident_bytes();
  }

 private:
  Shared& shared_;
  std::vector<uint64_t> beats_;
  std::vector<int64_t> taken_ns_;
  int64_t began_ns_ = 0;
  int64_t cpu_ns_ = 0;
};

/// What a run is told.
struct Setting {
  SimulatedGang gang;
  SimulatedTimes times{};
  double hang_s = 3;
  double node_timeout_s = 3;
};

JobConfig job_of(const Setting& setting) {
  JobConfig job;
  const MeshShape mesh = setting.gang.mesh();
  job.parallelism.dp = mesh.dp, job.parallelism.tp = mesh.tp, job.parallelism.pp = mesh.pp;
  job.fault.heartbeat = {kBeat};
  job.fault.hang_timeout = config::Seconds{setting.hang_s};
  job.fault.max_restarts = 0;
  job.fault.snapshot_interval_steps = 0;
  return job;
}

ClusterOptions cluster_of(const Setting& setting) {
  const SimulatedGang& gang = setting.gang;
  ClusterOptions cluster;
  cluster.times.timeout = std::chrono::duration<double>(setting.node_timeout_s);
  cluster.hosts.push_back({"coordinator", 0});
  for (int i = 1; i <= gang.nodes(); ++i) cluster.hosts.push_back({"node" + std::to_string(i), gang.kRanksPerNode});
  return cluster;
}

/// The status server's thread, asked for its metrics once a second.
void scrape(const RunDirectory& run, const RankBoard& board, const std::stop_token& stop) {
  RunFiles files(run);
  for (int i = 0; !stop.stop_requested(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (i % 10 != 0) continue;
    files.update();
    (void)exposition(make_status(run, {}, files, board.latest(), 0));
  }
}

void coordinate(const Setting& setting, const std::filesystem::path& folder, const JobSecret& secret, Shared& shared) {
  const RunDirectory run(folder, "run");
  run.create();
  Agent agent{JobPlace(run.root())};
  shared.rss_before = resident_bytes();
  WireListener listener({}, secret);
  shared.port = listener.port();
  Nodes nodes(agent, cluster_of(setting), secret, std::move(listener), "127.0.0.1");
  nodes.gather();
  RankBoard board;
  Onlooker onlooker(shared, setting.gang.nodes());
  CoordinatorOptions options;
  options.job = job_of(setting);
  options.publish = [&](const GangState& state, int64_t epoch) {
    board.publish(state, epoch);
    onlooker.look(state);
  };
  const std::jthread scraper([&](const std::stop_token& stop) { scrape(run, board, stop); });
  Coordinator coordinator(std::move(options), run, nodes);
  (void)coordinator.run();
}

// ---- processes

int processor(size_t number) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  (void)::sched_getaffinity(0, sizeof(allowed), &allowed);
  std::vector<int> all;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &allowed)) all.push_back(i);
  }
  return all.at(std::min(number, all.size() - 1));
}

/// Runs `work` in a process of its own, on that core alone.
template <class Work>
pid_t start_on(int core, const Work& work) {
  const pid_t process = ::fork();
  if (process != 0) return process;
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)::alarm(kWatchdogS);
  cpu_set_t own;
  CPU_ZERO(&own);
  CPU_SET(core, &own);
  (void)::sched_setaffinity(0, sizeof(own), &own);
  try {
    work();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

bool ends_well(pid_t process) {
  int status = 0;
  return ::waitpid(process, &status, 0) == process && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

struct Outcome {
  bool well = false;
  std::vector<EventRecord> events;
};

Outcome run_once(const Setting& setting, Shared& shared) {
  const Workplace place;
  const JobSecret secret = JobSecret::generate();
  const int first = processor(0), second = processor(1);
  const pid_t coordinator = start_on(first, [&] {
    (void)::setenv("PATH", (place.path().string() + ":/usr/bin:/bin").c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
    coordinate(setting, place.path(), secret, shared);
  });
  const pid_t agents = start_on(second, [&] {
    while (shared.port == 0) ::usleep(1000);
    simulate_nodes(setting.gang, setting.times, shared.port, secret, shared.log);
  });
  const bool first_well = ends_well(coordinator), second_well = ends_well(agents);
  return {first_well && second_well, read_events(place.path() / "run" / "events.jsonl")};
}

/// Memory that children share.
class SharedPlace {
 public:
  SharedPlace() : memory_(::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw system_error(errno, "bench", "no shared memory");
    shared_ = new (memory_) Shared;
  }
  ~SharedPlace() { ::munmap(memory_, sizeof(Shared)); }
  SharedPlace(const SharedPlace&) = delete;
  SharedPlace& operator=(const SharedPlace&) = delete;
  [[nodiscard]] Shared& get() const { return *shared_; }

 private:
  void* memory_;
  Shared* shared_ = nullptr;
};

// ---- tables

double ms(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-6; }

bool beats(const std::vector<int>& sizes, double seconds) {
  bool well = true;
  fmt::print("{:>7} {:>7} {:>9} {:>9} {:>12} {:>8} {:>7} {:>13} {:>7} {:>9} {:>8} {:>9}\n", "ranks", "nodes",
             "reports/s", "MiB/s", "CPU ms/beat", "of core", "looks/s", "longest gap s", "missed", "RSS MiB",
             "KiB/rank", "(late ms)");
  for (const int ranks : sizes) {
    const SharedPlace place;
    const Shared& shared = place.get();
    const SimulatedGang gang{ranks, SimulatedFault::none};
    well = run_once({gang, {.steady = seconds}}, place.get()).well && well && shared.missed == 0;
    const double steady = static_cast<double>(shared.steady_ns) * 1e-9;
    const double cpu = static_cast<double>(shared.cpu_ns) * 1e-9;
    fmt::print(
        "{:>7} {:>7} {:>9.0f} {:>9.1f} {:>12.1f} {:>7.1f}% {:>7.1f} {:>13.3f} {:>7} {:>9.1f} {:>8.1f} {:>9.1f}\n",
        ranks, gang.nodes(), static_cast<double>(shared.log.reports) / steady,
        static_cast<double>(shared.log.report_bytes) / steady / (1 << 20), 1e3 * cpu / steady * kBeat,
        100 * cpu / steady, static_cast<double>(shared.looks) / steady, ms(shared.longest_gap_ns) * 1e-3,
        shared.missed.load(), static_cast<double>(shared.rss) / (1 << 20),
        static_cast<double>(shared.rss - shared.rss_before) / 1024 / ranks, ms(shared.log.longest_lag_ns));
  }
  return well;
}

struct Case {
  SimulatedFault fault;
  std::string_view name;
  FaultCause cause;
};
constexpr Case kCases[] = {{SimulatedFault::dead, "dead", FaultCause::killed},
                           {SimulatedFault::hung, "hung", FaultCause::hang},
                           {SimulatedFault::mismatched, "mismatched", FaultCause::mismatched_collectives}};

std::string verdict_text(const std::vector<EventRecord>& events) {
  const auto found = std::find_if(events.begin(), events.end(),
                                  [](const EventRecord& event) { return event.event == RunEvent::verdict; });
  if (found == events.end()) return "none";
  return fmt::format("rank {}: {}", found->rank.value_or(-1), found->cause);
}

// For a test nothing depends on how fast this machine is.
Setting setting_of(const Case& each, int ranks, bool times) {
  const SimulatedGang gang{ranks, each.fault};
  return times ? Setting{gang} : Setting{gang, {0.2, 0.2}, 1, 60};
}

bool verdicts(const std::vector<int>& sizes, bool times) {
  bool well = true;
  for (const Case& each : kCases) {
    for (const int ranks : sizes) {
      const SharedPlace place;
      const Setting setting = setting_of(each, ranks, times);
      const Outcome outcome = run_once(setting, place.get());
      const std::string expected = fmt::format("rank {}: {}", setting.gang.culprit(), to_string(each.cause));
      const std::string verdict = verdict_text(outcome.events);
      const bool right = outcome.well && verdict == expected;
      well = well && right;
      fmt::print("{:<11} {:>6} ranks: {}", each.name, ranks, verdict);
      if (!right) fmt::print(", WRONG: expected {}", expected);
      const SimulationLog& log = place.get().log;
      if (times)
        fmt::print("; first node told after {:.3f} s, last after {:.3f} s",
                   ms(log.first_fence_ns - log.injected_ns) / 1e3, ms(log.last_fence_ns - log.injected_ns) / 1e3);
      fmt::print("\n");
      (void)std::fflush(stdout);
    }
  }
  return well;
}

int run(int argc, char** argv) {
  std::vector<int> sizes;
  bool only_beats = false, only_verdicts = false, times = true;
  double seconds = 10;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--beats" && i + 1 < argc) {
      only_beats = true;
      seconds = std::atof(argv[++i]);
    } else if (word == "--verdicts") {
      only_verdicts = true;
    } else if (word == "--without-times") {
      times = false;
    } else {
      sizes.push_back(std::atoi(argv[i]));
    }
  }
  if (sizes.empty()) sizes = {16, 1024, 16384};
  log::configure(log::Level::error, -1);
  bool well = true;
  if (!only_verdicts) well = beats(sizes, seconds);
  if (!only_beats) well = verdicts(sizes, times) && well;
  return well ? 0 : 1;
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) {
  try {
    return trident::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
