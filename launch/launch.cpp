#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "launch/agent.h"
#include "launch/fault_schedule.h"
#include "launch/janitor.h"
#include "launch/run_facts.h"
#include "launch/status/rank_board.h"
#include "launch/status/status_server.h"
#include "launch/verbs.h"
#include "train/config/config.h"
#include "train/config/decide_mesh.h"
#include "train/config/remaining_mesh.h"
#include "train/job_setup.h"
#include "train/local_cluster.h"
#include "train/resume.h"

namespace trident {
namespace {

struct Arguments {
  std::string job;
  std::vector<std::string> overrides;
  int ranks = 0;
  std::vector<std::string> mpirun;
  std::string faults;    // the short form
  std::string schedule;  // a file; empty: none
};

LaunchEnvironment ranks_on_this_node(int ranks) {
  return {LaunchEnvironment::Launcher::open_mpi, 0, ranks, 0, ranks, std::nullopt};
}

int ranks_of(const JobConfig& job, int asked) {
  if (asked > 0) return asked;
  const auto& layout = job.parallelism;
  if (!layout.dp.is_auto() && !layout.tp.is_auto() && !layout.pp.is_auto())
    return static_cast<int>(layout.dp.value() * layout.tp.value() * layout.pp.value());
  throw Error(ErrorCode::usage, "launch", "the job leaves its layout open, and nothing says how many ranks to start",
              "give --ranks N, or dp, tp and pp");
}

// What the first start decides holds for all: other numbers would change the sums.
std::vector<std::string> train_command(const Arguments& arguments, const JobConfig& job) {
  std::vector<std::string> words{std::filesystem::read_symlink("/proc/self/exe").string(), "train", arguments.job};
  words.insert(words.end(), arguments.overrides.begin(), arguments.overrides.end());
  words.push_back(fmt::format("parallelism.logical_shards={}", job.parallelism.logical_shards.value()));
  words.push_back(fmt::format("training.micro_batch_size={}", job.training.micro_batch_size.value()));
  return words;
}

// The ranks' own report knows neither how the last gang ended nor faults that ended the job.
void tell_end(const RunDirectory& run) {
  try {
    const ReportData data = load_report_data(run, facts_of(run));
    if (const std::string line = ledger_line(data.ledger); !line.empty()) log::info("wall time {}", line);
    if (data.history.last_attempt > 0) write_file_atomically(run.report(), render_report(data));
  } catch (const std::exception& error) {
    log::warning("no report: {}", error.what());  // how the job ended stands
  }
}

// A job goes on without it.
std::unique_ptr<StatusServer> serve_status(const JobConfig& job, const RunDirectory& run, const RankBoard& board) {
  const auto& logging = job.logging;
  if (!logging.status_port.is_auto() && logging.status_port.value() == 0) return nullptr;
  try {
    const StatusOptions options{logging.status_address, static_cast<int>(logging.status_port.value_or(0))};
    auto server = std::make_unique<StatusServer>(options, run, facts_of(job), board);
    log::info("status at {}, with /metrics, /healthz and /api/state; trident watch {}", server->url(),
              run.root().string());
    return server;
  } catch (const std::exception& error) {
    log::warning("no status server: {}; the job goes on", error.what());
    return nullptr;
  }
}

int run(const Arguments& arguments) {
  ResolvedOrigins origins;
  const JobConfig job = load_job(arguments.job, arguments.overrides, &origins);
  std::vector<InjectedFault> faults = parse_faults(arguments.faults);
  const LaunchEnvironment launch = ranks_on_this_node(ranks_of(job, arguments.ranks));
  AgentOptions options;
  const auto cluster = local_cluster(job, launch);
  const JobConfig decided = decide_mesh(job, origins, launch, cluster ? &*cluster : nullptr);
  options.job = decide_auto(adopt_saved(decided), launch);
  for (const std::string& warning : origins.warnings) log::warning("{}", warning);
  options.train = train_command(arguments, options.job);
  options.mpirun = arguments.mpirun;
  if (!arguments.schedule.empty()) {
    const auto scheduled = load_fault_schedule(arguments.schedule, ranks_of(options.job, 0));
    faults.insert(faults.end(), scheduled.begin(), scheduled.end());
  }
  options.faults = std::move(faults);
  const bool planned = cluster.has_value() && job.parallelism.schedule.is_auto();
  const RemainingMesh remaining(job, options.job, origins, places_of_ranks(job, launch), planned);
  options.remaining = [remaining](int64_t places) { return remaining.choose(places); };
  const RunDirectory folder(options.job.run.dir, options.job.run.name);
  const JobPlace place(folder.root());
  const Janitor janitor(place);
  RankBoard board;
  options.publish = [&board](const GangState& gang, int64_t epoch) { board.publish(gang, epoch); };
  const JobConfig started = options.job;
  Agent agent(std::move(options), place);
  auto server = serve_status(started, folder, board);
  const int code = agent.run();
  server.reset();
  tell_end(folder);
  if (arguments.schedule.empty()) return code;
  const bool as_expected = agent.chaos().finish();
  return code != 0 || as_expected ? code : static_cast<int>(ErrorCode::internal);
}

// What both verbs take.
void add_job(CLI::App& verb, Arguments& arguments) {
  verb.add_option("job", arguments.job, "The job file (YAML)")->required()->type_name("JOB.yaml");
  verb.add_option("overrides", arguments.overrides, "Values that replace the file's")->type_name("key=value");
  verb.add_option("--ranks", arguments.ranks, "Ranks to start; otherwise dp·tp·pp of the job")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N");
  verb.add_option("--mpirun", arguments.mpirun, "A further word for mpirun, as often as wanted")
      ->type_name("WORD")
      ->allow_extra_args(false);
  verb.add_option("--inject", arguments.faults, "Faults to make, for tests: kind@rank=R,step=S;…")->type_name("FAULTS");
}

}  // namespace

void add_launch(CLI::App& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = program.add_subcommand("launch", "Run a job on several ranks, and restart it when one fails");
  add_job(*verb, *arguments);
  verb->footer(
      "Examples:\n  trident launch configs/quickstart.yaml --ranks 4 --mpirun=--oversubscribe\n"
      "  trident launch job.yaml training.steps=100\n"
      "SIGTERM, SIGUSR1 or Ctrl-C: a checkpoint at the end of the step, exit code 75; the same command goes on.\n"
      "What happened to ranks is in the run's events.jsonl and epochs.jsonl.");
  verb->callback([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

void add_chaos(CLI::App& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = program.add_subcommand("chaos", "`trident launch` with a schedule of faults that it has to survive");
  verb->add_option("schedule", arguments->schedule, "The faults (YAML)")->required()->type_name("SCHEDULE.yaml");
  add_job(*verb, *arguments);
  verb->footer(
      "Example:\n  trident chaos faults.yaml job.yaml --ranks 4 run.name=chaos\n"
      "A schedule: {faults: [{kind: kill, rank: 2, step: 5}], random: {faults: 10, seed: 7, kinds: [kill, stop]}}\n"
      "What became of each fault is in the run's chaos.jsonl. Exit code 70 where one was not detected or was blamed "
      "on\n"
      "the wrong rank or cause; otherwise that of `trident launch`.");
  verb->callback([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
