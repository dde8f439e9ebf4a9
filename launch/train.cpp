#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "launch/agent_link.h"
#include "launch/exit.h"
#include "launch/options.h"
#include "launch/signals.h"
#include "launch/verbs.h"
#include "parallel/comm/launch_environment.h"
#include "parallel/comm/mpi_session.h"
#include "train/config/config.h"
#include "train/config/decide_mesh.h"
#include "train/job_setup.h"
#include "train/local_cluster.h"
#include "train/resume.h"
#include "train/trainer.h"

namespace trident {
namespace {

constexpr std::chrono::milliseconds kPause{5000};
// The agent finds out who hangs, and sooner; a rank that gave up by itself would only look like the culprit.
constexpr std::chrono::hours kSupervisedTimeout{24};

struct Arguments {
  std::string job;
  std::vector<std::string> overrides;
  std::string snapshots;
};

JobConfig read_job(const Arguments& arguments, const LaunchEnvironment& launch) {
  ResolvedOrigins origins;
  const JobConfig given = load_job(arguments.job, arguments.overrides, &origins);
  const auto cluster = local_cluster(given, launch);
  const JobConfig job = decide_mesh(given, origins, launch, cluster ? &*cluster : nullptr);
  if (launch.rank == 0)
    for (const std::string& warning : origins.warnings) log::warning("{}", warning);
  return decide_auto(adopt_saved(job), launch);
}

int train(const JobConfig& job, const std::string& snapshots, const Communicator& world, const StopSignals& signals,
          AgentLink& agent) {
  try {
    Trainer trainer(job, world,
                    {.snapshots = snapshots,
                     .progress = agent.progress(),
                     .attempt = agent.attempt(),
                     .files = &agent.files(),
                     .suspect_step = AgentLink::suspect_step(),
                     .predicted_step_s = predicted_step(job)});
    const TrainingEnd end = trainer.run(signals.requested());
    return end == TrainingEnd::preempted ? static_cast<int>(ErrorCode::preempted) : 0;
  } catch (const LeftEarly&) {
    return 0;  // a test wants it so
  }
}

void set_up(Communicator world, const JobConfig& job, AgentLink& agent) {
  world.set_trace(job.fault.compare_collectives);
  agent.join(world);
  if (agent.supervised()) {
    world.set_timeout(kSupervisedTimeout);
  } else if (!job.fault.hang_timeout.is_auto()) {
    const double milliseconds = std::clamp(job.fault.hang_timeout.value().value * 1e3, 1.0, 1e12);
    world.set_timeout(std::chrono::milliseconds(static_cast<int64_t>(milliseconds)));
  }
}

// The number of ranks that the launcher does not say.
void ask_mpi(LaunchEnvironment& launch, const Communicator& world) {
  launch.rank = world.rank();
  launch.size = world.size();
}

// What all ranks find wrong is said once, by rank 0, whose end ends the job while the others pause here. What rank 0
// does not find, a rank says after the pause. Either way the launcher cannot end rank 0 before it has spoken.
template <class Work>
auto saying_once(int rank, std::chrono::milliseconds pause, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    const bool of_all = error.code() != ErrorCode::peer_lost && error.code() != ErrorCode::internal;
    if (rank != 0 && of_all) std::this_thread::sleep_for(pause);
    throw;
  }
}

// MPI_Init would end the process with words that help nobody.
void require_pmi(const LaunchEnvironment& launch) {
  const auto set = [](const char* name) { return std::getenv(name) != nullptr; };
  if (launch.launcher != LaunchEnvironment::Launcher::slurm || set("PMIX_RANK") || set("PMI_RANK")) return;
  throw Error(ErrorCode::config, "launch environment",
              "Slurm has started this rank without PMIx, by which ranks of Open MPI find one another",
              "srun --mpi=pmix …; `srun --mpi=list` shows whether this Slurm has it");
}

int train_as_rank(const Arguments& arguments, LaunchEnvironment launch, AgentLink& agent) {
  std::optional<JobConfig> job;
  if (launch.size > 0) job = saying_once(launch.rank, kPause, [&] { return read_job(arguments, launch); });
  saying_once(launch.rank, kPause, [&] { require_pmi(launch); });
  const StopSignals signals;  // before MPI: it has threads of its own
  MpiSession session;
  // A rank that fails ends the others too: they would wait for it.
  int code = guarded([&] {
    return agent.telling([&] {
      if (job) set_up(session.world(), *job, agent);
      const std::chrono::milliseconds pause = std::min(kPause, session.world().options().timeout / 2);
      return saying_once(launch.rank, pause, [&] {
        if (!job) {
          ask_mpi(launch, session.world());
          job = read_job(arguments, launch);
          set_up(session.world(), *job, agent);
        }
        return train(agree_on_job(*job, session.world()), arguments.snapshots, session.world(), signals, agent);
      });
    });
  });
  if (code == 0 || code == static_cast<int>(ErrorCode::preempted)) {
    agent.finished(code);
    code = guarded([&] { return session.end(), code; });
  }
  if (code != 0 && code != static_cast<int>(ErrorCode::preempted)) {
    // An agent ends the others itself, once it knows who began.
    if (agent.supervised()) std::_Exit(code);
    session.abort(code);
  }
  return code;
}

int run(const Arguments& arguments) {
  const LaunchEnvironment launch = detect_launch();
  if (launch.size != 1) log::configure(log::Level::info, launch.rank);
  AgentLink agent(launch);
  if (launch.size != 1) return agent.telling([&] { return train_as_rank(arguments, launch, agent); });
  const int code = agent.telling([&] {
    const JobConfig job = read_job(arguments, launch);
    const StopSignals signals;
    return train(job, arguments.snapshots, Communicator::self("world"), signals, agent);
  });
  agent.finished(code);
  return code;
}

}  // namespace

void add_train(Verb& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verb = program.add_verb("train", "Run a job in this process");
  add_job(verb, arguments->job, arguments->overrides);
  verb.add_option("--snapshots", arguments->snapshots,
                  "Keep the state of the last steps in shared memory of this name, and go on from it if it is there. "
                  "It outlives the ranks: whoever gives the name removes it")
      .type_name("/NAME");
  verb.footer(
      "Examples:\n  trident train configs/smoke.yaml\n"
      "  trident train configs/smoke.yaml training.steps=100 run.name=short\n"
      "SIGTERM, SIGUSR1 or Ctrl-C: a checkpoint at the end of the step, exit code 75; the same command goes on.\n"
      "Under mpirun send SIGUSR1, to mpirun or to any rank: mpirun passes it on, but ends the job on the others.");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
