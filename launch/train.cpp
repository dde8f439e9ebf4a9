#include <optional>
#include <string>
#include <vector>

#include "core/log.h"
#include "launch/exit.h"
#include "launch/signals.h"
#include "launch/verbs.h"
#include "parallel/comm/launch_environment.h"
#include "parallel/comm/mpi_session.h"
#include "train/config/config.h"
#include "train/config/decide_mesh.h"
#include "train/job_setup.h"
#include "train/trainer.h"

namespace trident {
namespace {

struct Arguments {
  std::string job;
  std::vector<std::string> overrides;
};

JobConfig read_job(const Arguments& arguments, const LaunchEnvironment& launch) {
  ResolvedOrigins origins;
  const JobConfig job = decide_mesh(load_job(arguments.job, arguments.overrides, &origins), origins, launch);
  if (launch.rank == 0)
    for (const std::string& warning : origins.warnings) log::warning("{}", warning);
  return decide_auto(job, launch);
}

int train(const JobConfig& job, const Communicator& world, const StopSignals& signals) {
  Trainer trainer(job, world);
  const TrainingEnd end = trainer.run(signals.requested());
  return end == TrainingEnd::preempted ? static_cast<int>(ErrorCode::preempted) : 0;
}

// The number of ranks that the launcher does not say.
void ask_mpi(LaunchEnvironment& launch, const Communicator& world) {
  launch.rank = world.rank();
  launch.size = world.size();
}

int train_as_rank(const Arguments& arguments, LaunchEnvironment launch) {
  std::optional<JobConfig> job;
  if (launch.size > 0) job = read_job(arguments, launch);
  const StopSignals signals;  // before MPI: it has threads of its own
  MpiSession session;
  // A rank that fails ends the others too: they would wait for it.
  const int code = guarded([&] {
    if (!job) {
      ask_mpi(launch, session.world());
      job = read_job(arguments, launch);
    }
    return train(*job, session.world(), signals);
  });
  if (code != 0 && code != static_cast<int>(ErrorCode::preempted)) session.abort(code);
  return code;
}

int run(const Arguments& arguments) {
  const LaunchEnvironment launch = detect_launch();
  if (launch.size == 1) {
    const JobConfig job = read_job(arguments, launch);
    return train(job, Communicator::self("world"), StopSignals());
  }
  log::configure(log::Level::info, launch.rank);
  try {
    return train_as_rank(arguments, launch);
  } catch (const ConfigErrors& errors) {
    if (launch.rank != 0) return errors.exit_code();  // rank 0 says the same
    throw;
  }
}

}  // namespace

void add_train(CLI::App& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = program.add_subcommand("train", "Run a job in this process");
  verb->add_option("job", arguments->job, "The job file (YAML)")->required()->type_name("JOB.yaml");
  verb->add_option("overrides", arguments->overrides, "Values that replace the file's")->type_name("key=value");
  verb->footer(
      "Examples:\n  trident train configs/smoke.yaml\n"
      "  trident train configs/smoke.yaml training.steps=100 run.name=short\n"
      "SIGTERM, SIGUSR1 or Ctrl-C: weights are saved at the end of the step, exit code 75.\n"
      "Under mpirun send SIGUSR1, to mpirun or to any rank: mpirun passes it on, but ends the job on the others.");
  verb->callback([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
