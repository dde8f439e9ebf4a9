#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "launch/coordinator.h"
#include "launch/fault_injection.h"
#include "launch/janitor.h"
#include "launch/verbs.h"
#include "train/config/config.h"
#include "train/config/decide_mesh.h"
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
  std::string faults;
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

/// The job as it was read, and what decides whether it runs on another mesh.
struct ReadJob {
  JobConfig job;
  ResolvedOrigins origins;

  [[nodiscard]] bool legal(const MeshShape& mesh) const {
    JobConfig trial = job;
    trial.parallelism.dp = mesh.dp, trial.parallelism.tp = mesh.tp, trial.parallelism.pp = mesh.pp;
    try {
      (void)decide_mesh(trial, origins, ranks_on_this_node(static_cast<int>(mesh.ranks())));
      return true;
    } catch (const Error&) {
      return false;
    }
  }
};

// What the first start decides holds for all: other numbers would change the sums.
std::vector<std::string> train_command(const Arguments& arguments, const JobConfig& job) {
  std::vector<std::string> words{std::filesystem::read_symlink("/proc/self/exe").string(), "train", arguments.job};
  words.insert(words.end(), arguments.overrides.begin(), arguments.overrides.end());
  words.push_back(fmt::format("parallelism.logical_shards={}", job.parallelism.logical_shards.value()));
  words.push_back(fmt::format("training.micro_batch_size={}", job.training.micro_batch_size.value()));
  return words;
}

// Held as long as this process lives.
UniqueDescriptor lock_of(const RunDirectory& run) {
  UniqueDescriptor lock(::open(run.agent_lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (lock.is_open() && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  throw system_error(errno, "launch", "another agent runs " + run.root().string(),
                     "wait for it, or give this run another run.name");
}

int run(const Arguments& arguments) {
  auto read = std::make_shared<ReadJob>();
  read->job = load_job(arguments.job, arguments.overrides, &read->origins);
  (void)parse_faults(arguments.faults);
  const LaunchEnvironment launch = ranks_on_this_node(ranks_of(read->job, arguments.ranks));
  CoordinatorOptions options;
  const auto cluster = local_cluster(read->job, launch);
  const JobConfig decided = decide_mesh(read->job, read->origins, launch, cluster ? &*cluster : nullptr);
  options.job = decide_auto(adopt_saved(decided), launch);
  for (const std::string& warning : read->origins.warnings) log::warning("{}", warning);
  options.train = train_command(arguments, options.job);
  options.mpirun = arguments.mpirun;
  options.faults = arguments.faults;
  options.legal = [read](const MeshShape& mesh) { return read->legal(mesh); };
  RunDirectory folder(options.job.run.dir, options.job.run.name);
  folder.create();
  const UniqueDescriptor lock = lock_of(folder);
  const JobPlace place(folder.root());
  const Janitor janitor(place);
  Agent agent(place);
  return Coordinator(std::move(options), std::move(folder), agent).run();
}

}  // namespace

void add_launch(CLI::App& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = program.add_subcommand("launch", "Run a job on several ranks, and restart it when one fails");
  verb->add_option("job", arguments->job, "The job file (YAML)")->required()->type_name("JOB.yaml");
  verb->add_option("overrides", arguments->overrides, "Values that replace the file's")->type_name("key=value");
  verb->add_option("--ranks", arguments->ranks, "Ranks to start; otherwise dp·tp·pp of the job")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N");
  verb->add_option("--mpirun", arguments->mpirun, "A further word for mpirun, as often as wanted")
      ->type_name("WORD")
      ->allow_extra_args(false);
  verb->add_option("--inject", arguments->faults, "Faults to make, for tests: kind@rank=R,step=S;…")
      ->type_name("FAULTS");
  verb->footer(
      "Examples:\n  trident launch configs/quickstart.yaml --ranks 4 --mpirun=--oversubscribe\n"
      "  trident launch job.yaml training.steps=100\n"
      "SIGTERM, SIGUSR1 or Ctrl-C: a checkpoint at the end of the step, exit code 75; the same command goes on.\n"
      "What happened to ranks is in the run's events.jsonl and epochs.jsonl.");
  verb->callback([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
