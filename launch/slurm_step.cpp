#include "launch/slurm_step.h"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "parallel/comm/launch_environment.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr const char* kComponent = "launch/slurm";
constexpr std::chrono::seconds kPatience{60};
constexpr std::chrono::milliseconds kLookAgain{100};

std::string variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? std::string() : value;
}

}  // namespace

std::optional<SlurmStep> SlurmStep::detect() {
  const LaunchEnvironment launch = detect_launch();
  if (launch.launcher != LaunchEnvironment::Launcher::slurm || launch.size < 2) return std::nullopt;
  if (launch.local_size.value_or(1) != 1)
    throw Error(ErrorCode::usage, kComponent, "srun has started several tasks a node",
                "start `trident launch` once a node: srun --ntasks-per-node=1");
  return SlurmStep(variable("SLURM_JOB_ID") + "." + variable("SLURM_RESTART_COUNT") + "." + variable("SLURM_STEP_ID"));
}

JobSecret SlurmStep::make_secret(const RunDirectory& run) const {
  remove(run);
  return JobSecret::create(secret(run));
}

void SlurmStep::publish(const RunDirectory& run, const Endpoint& where) const {
  const fs::path temporary = endpoint(run).string() + ".tmp";
  std::ofstream file(temporary);
  file << where.address << ' ' << where.port << '\n' << std::flush;
  if (!file) throw Error(ErrorCode::io, kComponent, "cannot write " + temporary.string());
  file.close();
  fs::rename(temporary, endpoint(run));
}

std::pair<Endpoint, JobSecret> SlurmStep::find(const RunDirectory& run) const {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    Endpoint found;
    std::ifstream file(endpoint(run));
    if (file >> found.address >> found.port) return {found, JobSecret::load(secret(run))};
    if (std::chrono::steady_clock::now() > deadline)
      throw Error(ErrorCode::peer_lost, kComponent, endpoint(run).string() + " does not come",
                  "look at what the first host of the hostfile says; run.dir must be a folder that all nodes share");
    std::this_thread::sleep_for(kLookAgain);
  }
}

void SlurmStep::remove(const RunDirectory& run) const noexcept {
  std::error_code ignored;
  fs::remove(endpoint(run), ignored);
  fs::remove(secret(run), ignored);
}

}  // namespace trident
