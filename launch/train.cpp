#include <algorithm>
#include <string>
#include <vector>

#include "core/log.h"
#include "launch/exit.h"
#include "launch/signals.h"
#include "launch/verbs.h"
#include "parallel/comm/launch_environment.h"
#include "parallel/comm/mpi_session.h"
#include "train/config/config.h"
#include "train/job_setup.h"
#include "train/trainer.h"

namespace trident {
namespace {

struct Arguments {
  std::string job;
  std::vector<std::string> overrides;
};

int train(const JobConfig& job, const Communicator& world) {
  const StopSignals signals;
  Trainer trainer(job, world);
  const TrainingEnd end = trainer.run(signals.requested());
  return end == TrainingEnd::preempted ? static_cast<int>(ErrorCode::preempted) : 0;
}

// A rank that fails ends the others too: they would wait for it.
int train_as_rank(const JobConfig& job) {
  MpiSession session;
  const int code = guarded([&] { return train(job, session.world()); });
  if (code != 0 && code != static_cast<int>(ErrorCode::preempted)) session.abort(code);
  return code;
}

int run(const Arguments& arguments) {
  const LaunchEnvironment launch = detect_launch();
  log::configure(log::Level::info, launch.size > 1 ? launch.rank : -1);
  ResolvedOrigins origins;
  const JobConfig job = decide_auto(load_job(arguments.job, arguments.overrides, &origins), launch);
  if (launch.rank == 0)
    for (const std::string& warning : origins.warnings) log::warning("{}", warning);
  return launch.size > 1 ? train_as_rank(job) : train(job, Communicator::self("world"));
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
      "SIGTERM, SIGUSR1 or Ctrl-C: weights are saved at the end of the step, exit code 75.");
  verb->callback([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
