#include "launch/plan_goodput.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "launch/text_table.h"

namespace trident {
namespace {

constexpr double kHour = 3600;

}  // namespace

void add_goodput(Verb& verb, GoodputArguments& arguments) {
  verb.add_flag("--goodput", arguments.wanted, "Simulate days of training with interruptions of the cluster's rate");
  const auto number = [&](const char* name, double& value, const char* help, const char* unit) {
    verb.add_option(name, value, help).type_name(unit).real_range(0.0, 1e9).needs("--goodput");
  };
  number("--days", arguments.days, "Days to simulate; 54 by default, as Llama 3 reports", "DAYS");
  verb.add_option("--spares", arguments.spares, "Nodes that wait to replace others")
      .type_name("N")
      .range(0, 1 << 20)
      .needs("--goodput");
  number("--detection", arguments.detection_s, "Until an interruption is noticed; default: the job's fault section",
         "SECONDS");
  number("--restart", arguments.restart_s, "From there until the next gang computes; 60 by default", "SECONDS");
  number("--checkpoint-cost", arguments.checkpoint_s, "How long a checkpoint keeps training waiting; 1 by default",
         "SECONDS");
  number("--checkpoint-interval", arguments.interval_s, "Default: the recommended one", "SECONDS");
  number("--failures", arguments.failures_per_hour, "Interruptions per accelerator and hour; default: the cluster's",
         "RATE");
  verb.add_option("--seed", arguments.seed, "Of the interruptions").type_name("S").needs("--goodput");
}

plan::GoodputJob goodput_job(const GoodputArguments& arguments, const JobConfig& job, const plan::ClusterSpec& cluster,
                             const plan::SearchResult& result, int64_t ranks) {
  plan::GoodputJob goodput;
  goodput.accelerators = ranks;
  goodput.accelerators_per_node = cluster.accelerators_per_node;
  goodput.spare_nodes = arguments.spares;
  goodput.failures = cluster.failures;
  if (arguments.failures_per_hour >= 0) goodput.failures.per_accelerator_hour = arguments.failures_per_hour;
  if (!result.layouts.empty()) goodput.step_s = result.layouts.front().step_s;
  goodput.days = arguments.days;
  goodput.checkpoint_cost_s = arguments.checkpoint_s;
  if (arguments.interval_s > 0) goodput.checkpoint_interval_s = arguments.interval_s;
  const double noticed = job.fault.node_timeout.value + job.fault.heartbeat.value;
  goodput.detection_s = arguments.detection_s >= 0 ? arguments.detection_s : noticed;
  goodput.restart_s = arguments.restart_s;
  goodput.snapshots_in_memory = job.fault.snapshot_interval_steps > 0;
  goodput.seed = arguments.seed;
  return goodput;
}

std::string goodput_text(const plan::GoodputJob& job, const plan::GoodputResult& result) {
  std::string text = fmt::format("{:.4g} days on {} accelerators: {:.2f} % effective training time\n",
                                 result.total / 24 / kHour, job.accelerators, 100 * result.goodput());
  Shares hours(result.total);
  for (const auto& [what, value] :
       {std::pair("steps that stayed", result.effective), std::pair("steps done again", result.lost),
        std::pair("detection", result.detection), std::pair("restart", result.restart),
        std::pair("checkpoints", result.checkpoint), std::pair("missing nodes", result.degraded),
        std::pair("waiting for repair", result.waiting)})
    hours.add(what, value, fmt::format("{:.2f} h", value / kHour));
  text += hours.to_string();
  text += fmt::format("  {} interruptions, {} of them lost a node\n", result.interruptions, result.node_losses);
  text += fmt::format(
      "Assumed: an interruption every {:.3g} h ({:.3g} per accelerator and hour), {:.0f} % of them lose a node, which\n"
      "is back after {:.3g} h; {} spare nodes; noticed after {:.3g} s, computing again {:.3g} s later; a step of "
      "{:.3g} s.\n",
      plan::mean_time_between(job) / kHour, job.failures.per_accelerator_hour, 100 * job.failures.node_share,
      job.failures.repair_hours, job.spare_nodes, job.detection_s, job.restart_s, job.step_s);
  text += fmt::format("{}; a checkpoint costs {:.3g} s every {:.4g} s{}. Seed {}.\n",
                      job.snapshots_in_memory ? "Where no node is lost, the last step's state is still in memory"
                                              : "Every interruption goes back to a checkpoint",
                      job.checkpoint_cost_s, result.checkpoint_interval_s,
                      job.checkpoint_interval_s > 0 ? "" : " (Young and Daly's interval, recommended)", job.seed);
  return text;
}

nlohmann::ordered_json goodput_json(const plan::GoodputJob& job, const plan::GoodputResult& result) {
  const auto finite = [](double value) { return std::isfinite(value) ? nlohmann::ordered_json(value) : nullptr; };
  return {{"goodput", result.goodput()},
          {"seconds",
           {{"total", result.total},
            {"effective", result.effective},
            {"lost", result.lost},
            {"detection", result.detection},
            {"restart", result.restart},
            {"checkpoint", result.checkpoint},
            {"degraded", result.degraded},
            {"waiting", result.waiting}}},
          {"interruptions", result.interruptions},
          {"node_losses", result.node_losses},
          {"checkpoint_interval_s", finite(result.checkpoint_interval_s)},
          {"assumed",
           {{"accelerators", job.accelerators},
            {"mean_time_between_s", finite(plan::mean_time_between(job))},
            {"failures_per_accelerator_hour", job.failures.per_accelerator_hour},
            {"node_share", job.failures.node_share},
            {"repair_hours", job.failures.repair_hours},
            {"spare_nodes", job.spare_nodes},
            {"detection_s", job.detection_s},
            {"restart_s", job.restart_s},
            {"checkpoint_cost_s", job.checkpoint_cost_s},
            {"snapshots_in_memory", job.snapshots_in_memory},
            {"step_s", job.step_s},
            {"seed", job.seed}}}};
}

}  // namespace trident
