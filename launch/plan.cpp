#include <fmt/format.h>

#include <iostream>
#include <string>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "launch/options.h"
#include "launch/plan_goodput.h"
#include "launch/plan_report.h"
#include "launch/verbs.h"
#include "parallel/comm/launch_environment.h"
#include "parallel/pipeline/render.h"
#include "plan/predict.h"
#include "plan/search.h"
#include "train/config/cluster_file.h"
#include "train/config/config.h"
#include "train/config/job_plan.h"
#include "train/config/scalars.h"
#include "train/local_cluster.h"

namespace trident {
namespace {

struct Arguments {
  std::string job;
  std::vector<std::string> overrides;
  std::string cluster;
  int64_t ranks = 0;
  std::string tokens;
  bool json = false;
  size_t top = 10;
  size_t explained = 0;
  std::string write, trace, svg;
  GoodputArguments goodput;
};

Error usage(std::string problem, std::string remedy) {
  return {ErrorCode::usage, "plan", std::move(problem), std::move(remedy)};
}

/// A job that says nothing of its layout leaves it to the planner; otherwise what it leaves out has its default, which
/// is what `train` would run.
JobConfig open_layout(JobConfig job, const ResolvedOrigins& origins) {
  const auto is_given = [&](const char* key) { return origins.places.contains(key); };
  if (!is_given("parallelism")) {
    job.parallelism.set_auto();
    if (!is_given("training.recompute")) job.training.recompute = {};
  }
  const auto& keys = job.parallelism;
  const bool decided = !keys.dp.is_auto() && !keys.tp.is_auto() && !keys.pp.is_auto();
  if (!decided && !is_given("training.micro_batch_size")) job.training.micro_batch_size = {};
  return job;
}

int64_t ranks_of(const Arguments& arguments, const JobConfig& job, const plan::ClusterSpec& cluster) {
  const auto& keys = job.parallelism;
  if (arguments.ranks > 0) return arguments.ranks;
  if (!keys.dp.is_auto() && !keys.tp.is_auto() && !keys.pp.is_auto())
    return keys.dp.value() * keys.tp.value() * keys.pp.value();
  return cluster.accelerators();
}

std::optional<double> tokens_of(const Arguments& arguments, const JobConfig& job) {
  if (!arguments.tokens.empty()) {
    const auto parsed = config::parse_count(arguments.tokens);
    if (!parsed.value || *parsed.value < 1)
      throw usage("--tokens " + arguments.tokens + " is not a number of tokens", "write e.g. --tokens 15T");
    return static_cast<double>(*parsed.value);
  }
  if (job.training.tokens) return static_cast<double>(*job.training.tokens);
  return std::nullopt;
}

void draw(const Arguments& arguments, const plan::Workload& workload, const plan::ClusterSpec& cluster,
          const plan::Layout& layout) {
  if (arguments.trace.empty() && arguments.svg.empty()) return;
  const plan::PredictedStep step = plan::predict_pipeline(workload, layout, cluster);
  if (!arguments.svg.empty()) {
    if (pipeline::drawn(step.simulation) > pipeline::kMaxDrawn)
      throw usage("--svg: the step has too many actions to draw", "write a --trace");
    write_file_atomically(arguments.svg, pipeline::to_svg(step.schedule, step.simulation));
  }
  if (!arguments.trace.empty())
    write_file_atomically(arguments.trace, pipeline::to_chrome_trace(step.schedule, step.simulation, 1e6));
}

plan::ClusterSpec cluster_of(const Arguments& arguments, const JobConfig& job) {
  if (!arguments.cluster.empty()) return load_cluster(arguments.cluster);
  if (auto cluster = local_cluster(job, detect_launch())) return std::move(*cluster);
  throw usage("this machine's GPUs are not described", "give --cluster, e.g. configs/clusters/h100.yaml");
}

int run(const Arguments& arguments) {
  ResolvedOrigins origins;
  const JobConfig job = open_layout(load_job(arguments.job, arguments.overrides, &origins), origins);
  const plan::ClusterSpec cluster = cluster_of(arguments, job);
  const int64_t ranks = ranks_of(arguments, job, cluster);
  if (!cluster.shared && ranks > cluster.accelerators())
    throw usage(fmt::format("{} ranks on the {} accelerators of {}", ranks, cluster.accelerators(), cluster.name),
                fmt::format("give --gpus {} or fewer, or more nodes in the cluster file", cluster.accelerators()));
  const plan::Workload workload = workload_of(job);
  const plan::SearchResult result = plan::search(workload, cluster, search_space(job, ranks));
  const PlanReport report{workload, cluster, result, tokens_of(arguments, job), arguments.top};
  if (arguments.explained > result.layouts.size() || (arguments.json && arguments.explained > 0))
    throw usage(fmt::format("--explain {}: there are {} layouts", arguments.explained, result.layouts.size()),
                "give the number of a layout in the table, without --json");
  const bool with_goodput = arguments.goodput.wanted && !result.layouts.empty();
  const plan::GoodputJob goodput = goodput_job(arguments.goodput, job, cluster, result, ranks);
  if (arguments.json) {
    nlohmann::ordered_json json = to_json(report);
    if (with_goodput) json["goodput"] = goodput_json(goodput, plan::simulate_goodput(goodput));
    std::cout << json.dump(2) << '\n';
  } else {
    std::cout << to_text(report);
    if (with_goodput) std::cout << '\n' << goodput_text(goodput, plan::simulate_goodput(goodput));
  }
  if (result.layouts.empty())
    throw Error(ErrorCode::config, "plan", fmt::format("no layout of {} ranks fits {}", ranks, cluster.name),
                "the reasons are listed; take more ranks, a smaller batch or model, or leave keys to auto");
  const size_t chosen = std::max<size_t>(arguments.explained, 1) - 1;
  if (arguments.explained > 0) std::cout << '\n' << explain(report, result.layouts[chosen]);
  const plan::Layout& layout = result.layouts[chosen].layout;
  if (!arguments.write.empty()) write_file_atomically(arguments.write, to_yaml(with_layout(job, layout)));
  draw(arguments, workload, cluster, layout);
  return 0;
}

}  // namespace

void add_plan(Verb& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verb = program.add_verb("plan", "Rank layouts by predicted step time before anything runs");
  add_job(verb, arguments->job, arguments->overrides);
  verb.add_option("--cluster", arguments->cluster, "The machine, e.g. of configs/clusters; default: this one")
      .type_name("CLUSTER.yaml");
  verb.add_option("--gpus,--ranks", arguments->ranks, "Ranks; default: what the job fixes, or the whole cluster")
      .type_name("N")
      .range(1, 1 << 20);
  verb.add_option("--tokens", arguments->tokens, "Also the days and the cost of so many tokens").type_name("N");
  add_json(verb, arguments->json);
  verb.add_option("--top", arguments->top, "Layouts to list").type_name("N").show_default();
  verb.add_option("--explain", arguments->explained, "Where time and memory of the N-th layout go").type_name("N");
  verb.add_option("--write", arguments->write, "Write the job with the first (or explained) layout").type_name("FILE");
  verb.add_option("--svg", arguments->svg, "Draw its pipeline step into this file").type_name("FILE");
  verb.add_option("--trace", arguments->trace, "Write its pipeline step for Perfetto (Chrome trace JSON)")
      .type_name("FILE");
  add_goodput(verb, arguments->goodput);
  verb.footer(
      "What the job fixes stays; `auto` is searched, and everything where the job has no section parallelism.\n"
      "Examples:\n  trident plan configs/llama-7b-64.yaml --cluster configs/clusters/h100.yaml --gpus 64 --tokens 1T\n"
      "  trident plan job.yaml parallelism=auto --cluster configs/clusters/h100.yaml --gpus 16384 --explain 1\n"
      "  trident plan job.yaml --cluster configs/clusters/h100.yaml --gpus 16384 --goodput --days 54 --spares 16");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
