#include "launch/launch_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/log.h"
#include "launch/fault_schedule.h"
#include "launch/options.h"
#include "train/config/config.h"
#include "train/config/decide_mesh.h"
#include "train/config/remaining_mesh.h"
#include "train/config/shell_word.h"
#include "train/job_setup.h"
#include "train/local_cluster.h"
#include "train/resume.h"

namespace trident {
namespace {

int slots_of(const std::vector<Host>& hosts) {
  int sum = 0;
  for (const Host& host : hosts) sum += host.slots;
  return sum;
}

// As a rank of it will see them.
LaunchEnvironment ranks_on(const std::vector<Host>& hosts, int ranks) {
  const int most = hosts.empty() ? ranks : std::max_element(hosts.begin(), hosts.end(), [](auto& a, auto& b) {
                                             return a.slots < b.slots;
                                           })->slots;
  return {LaunchEnvironment::Launcher::open_mpi, 0, ranks, 0, std::min(ranks, most), std::nullopt};
}

int ranks_of(const JobConfig& job, int asked, const std::vector<Host>& hosts) {
  if (asked > 0) return asked;
  const auto& layout = job.parallelism;
  if (!layout.dp.is_auto() && !layout.tp.is_auto() && !layout.pp.is_auto())
    return static_cast<int>(layout.dp.value() * layout.tp.value() * layout.pp.value());
  if (!hosts.empty()) return slots_of(hosts);
  throw Error(ErrorCode::usage, "launch", "the job leaves its layout open, and nothing says how many ranks to start",
              "give --ranks N, or dp, tp and pp");
}

// What the first start decides holds for all: other numbers would change the sums.
std::vector<std::string> decided(const LaunchArguments& arguments, const JobConfig& job) {
  std::vector<std::string> words{arguments.job};
  words.insert(words.end(), arguments.overrides.begin(), arguments.overrides.end());
  words.push_back(fmt::format("parallelism.logical_shards={}", job.parallelism.logical_shards.value()));
  words.push_back(fmt::format("training.micro_batch_size={}", job.training.micro_batch_size.value()));
  return words;
}

std::vector<InjectedFault> faults_of(const LaunchArguments& arguments, const LaunchPlan& plan) {
  std::vector<InjectedFault> faults = parse_faults(arguments.faults);
  if (arguments.schedule.empty()) return faults;
  const auto& layout = plan.coordinator.job.parallelism;
  const bool copies = layout.dp.value() > 1 && layout.zero_stage == 0;
  const auto scheduled =
      load_fault_schedule(arguments.schedule, {plan.ranks(), std::max(1, static_cast<int>(plan.hosts.size())), copies});
  faults.insert(faults.end(), scheduled.begin(), scheduled.end());
  return faults;
}

// With what else the user gave; the number of ranks comes behind it.
StartCommand start_command(const LaunchArguments& arguments) {
  std::vector<std::string> words{"trident", arguments.schedule.empty() ? "launch" : "chaos"};
  if (!arguments.schedule.empty()) words.push_back(arguments.schedule);
  if (!arguments.hostfile.empty()) words.insert(words.end(), {"--hostfile", arguments.hostfile});
  if (arguments.remote_shell != LaunchArguments().remote_shell)
    words.insert(words.end(), {"--remote-shell", arguments.remote_shell});
  for (const std::string& word : arguments.mpirun) words.push_back("--mpirun=" + word);
  StartCommand command;
  for (const std::string& word : words) command.before += shell_word(word) + " ";
  command.before += "--ranks";
  return command;
}

std::vector<std::string> verb_command(const char* verb, const std::vector<std::string>& words) {
  std::vector<std::string> command{std::filesystem::read_symlink("/proc/self/exe").string(), verb};
  command.insert(command.end(), words.begin(), words.end());
  return command;
}

std::vector<std::string> agent_command(const LaunchArguments& arguments, const LaunchPlan& plan) {
  auto command = verb_command("agent", decided(arguments, plan.coordinator.job));
  command.insert(command.end(), {"--hostfile", arguments.hostfile, "--remote-shell", arguments.remote_shell, "--ranks",
                                 std::to_string(plan.ranks())});
  for (const std::string& word : arguments.mpirun) command.push_back("--mpirun=" + word);
  if (!plan.coordinator.faults.empty()) command.insert(command.end(), {"--inject", to_text(plan.coordinator.faults)});
  if (plan.scheduled) command.emplace_back("--scheduled");
  return command;
}

}  // namespace

int LaunchPlan::ranks() const {
  const auto& layout = coordinator.job.parallelism;
  return static_cast<int>(layout.dp.value() * layout.tp.value() * layout.pp.value());
}

NodeFaults LaunchPlan::faults_of_node(uint32_t node) const {
  const JobConfig& job = coordinator.job;
  return NodeFaults({coordinator.faults, static_cast<int>(node), node < hosts.size() ? hosts[node].name : host_name(),
                     RunDirectory(job.run.dir, job.run.name).injections()});
}

LaunchPlan plan_launch(const LaunchArguments& arguments) {
  LaunchPlan plan;
  if (!arguments.hostfile.empty()) plan.hosts = read_hostfile(arguments.hostfile);
  ResolvedOrigins origins;
  const JobConfig job = load_job(arguments.job, arguments.overrides, &origins);
  const LaunchEnvironment launch = ranks_on(plan.hosts, ranks_of(job, arguments.ranks, plan.hosts));
  if (!plan.hosts.empty() && launch.size > slots_of(plan.hosts))
    throw Error(ErrorCode::usage, "launch",
                fmt::format("{} ranks are asked for, and {} has {} slots", launch.size, arguments.hostfile,
                            slots_of(plan.hosts)),
                "add hosts or slots");
  CoordinatorOptions& options = plan.coordinator;
  const auto cluster = local_cluster(job, launch);
  const JobConfig meshed = decide_mesh(job, origins, launch, cluster ? &*cluster : nullptr, start_command(arguments));
  options.job = decide_auto(adopt_saved(meshed), launch);
  for (const std::string& warning : origins.warnings) log::warning("{}", warning);
  options.train = verb_command("train", decided(arguments, options.job));
  options.slots_given = !plan.hosts.empty();
  options.remote_shell = arguments.remote_shell;
  options.mpirun = arguments.mpirun;
  plan.scheduled = arguments.scheduled || !arguments.schedule.empty();
  options.faults = faults_of(arguments, plan);
  const bool planned = cluster.has_value() && job.parallelism.schedule.is_auto();
  const RemainingMesh remaining(job, options.job, origins, places_of_ranks(job, launch), planned);
  options.remaining = [remaining](int64_t places) { return remaining.choose(places); };
  plan.times = {std::chrono::duration<double>(options.job.fault.heartbeat.value),
                std::chrono::duration<double>(options.job.fault.node_timeout.value)};
  plan.agent_command = agent_command(arguments, plan);
  return plan;
}

void add_launch_options(Verb& verb, LaunchArguments& arguments) {
  add_job(verb, arguments.job, arguments.overrides);
  verb.add_option("--ranks", arguments.ranks, "Ranks to start; otherwise dp·tp·pp of the job, or all slots")
      .range(1, 1 << 20)
      .type_name("N");
  verb.add_option("--hostfile", arguments.hostfile,
                  "The machines to use, one a line: name slots=N. This one must be among them")
      .type_name("FILE");
  verb.add_option("--remote-shell", arguments.remote_shell, "How to run a command on another machine")
      .show_default()
      .type_name("COMMAND");
  verb.add_option("--mpirun", arguments.mpirun, "A further word for mpirun, as often as wanted")
      .type_name("WORD")
      .one_word();
  verb.add_option("--inject", arguments.faults, "Faults to make, for tests: kind@rank=R,step=S;…").type_name("FAULTS");
}

}  // namespace trident
