#include "parallel/pipeline/schedule.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "launch/options.h"
#include "launch/verbs.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/render.h"
#include "parallel/pipeline/simulate.h"
#include "parallel/pipeline/validate.h"

namespace trident {
namespace {

struct Arguments {
  pipeline::ScheduleRequest request;
  std::vector<double> costs = {1, 1, 1, 0};
  bool one_queue = false;
  bool json = false;
  bool lowered = false;
  std::string svg;
  std::string trace;
};

constexpr double kLargestCost = 1e12;

// A cost is that of a rank's whole share of the model, which its virtual stages divide; a transfer is what it is.
pipeline::SimulationCosts costs_of(const Arguments& arguments, const pipeline::Schedule& schedule) {
  const auto& costs = arguments.costs;
  if (costs.size() != 4 ||
      !std::all_of(costs.begin(), costs.end(), [](double c) { return c >= 0 && c <= kLargestCost; }))
    throw Error(ErrorCode::usage, "schedule", fmt::format("--costs {} is not four times", fmt::join(costs, ",")),
                fmt::format("give forward, input gradient, weight gradient, transfer, each from 0 to {:g}: "
                            "--costs 1,1,1,0.1",
                            kLargestCost));
  if (costs[0] + costs[1] + costs[2] <= 0)
    throw Error(ErrorCode::usage, "schedule", "with --costs 0,0,0 nothing takes time", "give at least one pass a cost");
  const double share = 1.0 / schedule.virtual_stages;
  return {{{costs[0] * share, costs[1] * share, costs[2] * share}},
          costs[3],
          arguments.one_queue ? pipeline::CommQueues::per_rank : pipeline::CommQueues::per_edge};
}

// The zero-bubble paper's metric, with the paper's own timing: it lets a part of an interleaved schedule's microbatches
// start before the value that comes around is there (docs/measurements/bubble-table.md).
double published_metric(const pipeline::Schedule& lowered, pipeline::SimulationCosts costs,
                        const pipeline::Simulation& simulation) {
  const bool loops = lowered.name == "interleaved" && lowered.virtual_stages > 1;
  if (!loops || lowered.microbatches % lowered.ranks != 0) return simulation.bubble_ratio_stage_span;
  costs.wrap_around = pipeline::WrapAround::first_of_group;
  return simulate(lowered, costs).bubble_ratio_stage_span;
}

nlohmann::ordered_json to_json(const pipeline::Schedule& schedule, const pipeline::Schedule& printed,
                               const pipeline::Simulation& simulation, double metric) {
  auto lists = nlohmann::ordered_json::array();
  for (const auto& actions : printed.actions) {
    auto list = nlohmann::ordered_json::array();
    for (const pipeline::Action& action : actions) list.push_back(pipeline::to_string(action));
    lists.push_back(std::move(list));
  }
  return {{"schedule", schedule.name},
          {"stages", schedule.ranks},
          {"microbatches", schedule.microbatches},
          {"virtual_stages", schedule.virtual_stages},
          {"actions", std::move(lists)},
          {"makespan", simulation.makespan},
          {"bubble_ratio", simulation.bubble_ratio},
          {"bubble_ratio_stage_span", metric},
          {"peak_live", simulation.peak_live},
          {"rank_of_stage", schedule.rank_of_stage}};
}

void print_summary(const pipeline::Simulation& simulation, double metric) {
  std::cout << fmt::format("time {:.6g}, bubble {:.2f} % (of the longest rank's own span {:.2f} %)\n",
                           simulation.makespan, 100 * simulation.bubble_ratio, 100 * metric)
            << fmt::format("peak activations per rank, in microbatches of one stage: {}\n",
                           fmt::join(simulation.peak_live, " "));
}

void draw(const std::string& path, const pipeline::Schedule& lowered, const pipeline::Simulation& simulation) {
  if (const size_t count = pipeline::drawn(simulation); count > pipeline::kMaxDrawn)
    throw Error(
        ErrorCode::usage, "schedule",
        fmt::format("--svg: {} actions and transfers are too many to draw, at most {}", count, pipeline::kMaxDrawn),
        "draw fewer stages or microbatches, or write a --trace");
  write_file_atomically(path, pipeline::to_svg(lowered, simulation));
}

int run(const Arguments& arguments) {
  if (const auto refusal = pipeline::refuse(arguments.request))
    throw Error(ErrorCode::usage, "schedule", refusal->reason, refusal->remedy);
  const pipeline::Schedule schedule = pipeline::make_schedule(arguments.request);
  const pipeline::SimulationCosts costs = costs_of(arguments, schedule);
  const pipeline::Schedule lowered = pipeline::lower(schedule);
  pipeline::require_valid(lowered);
  const pipeline::Simulation simulation = pipeline::simulate(lowered, costs);
  if (!arguments.svg.empty()) draw(arguments.svg, lowered, simulation);
  if (!arguments.trace.empty()) write_file_atomically(arguments.trace, pipeline::to_chrome_trace(lowered, simulation));
  const pipeline::Schedule& printed = arguments.lowered ? lowered : schedule;
  const double metric = published_metric(lowered, costs, simulation);
  if (arguments.json) {
    std::cout << to_json(schedule, printed, simulation, metric).dump() << '\n';
  } else if (arguments.svg.empty() && arguments.trace.empty()) {
    std::cout << pipeline::to_text(printed);
    print_summary(simulation, metric);
  }
  return 0;
}

}  // namespace

void add_schedule(Verb& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verb = program.add_verb("schedule", "Print, validate, time and draw a pipeline schedule");
  pipeline::ScheduleRequest& request = arguments->request;
  verb.add_option("name", request.name, "gpipe, 1f1b, interleaved, zb-h1 or zb-v").type_name("NAME").required();
  verb.add_option("--stages", request.ranks, "Pipeline ranks").type_name("P").required();
  verb.add_option("--microbatches", request.microbatches, "Microbatches of a step").type_name("M").required();
  verb.add_option("--virtual", request.virtual_stages, "Virtual stages per rank: interleaved, by default 2")
      .type_name("V")
      .range(1, pipeline::kMaxStages);
  verb.add_option("--costs", arguments->costs,
                  "Forward, input gradient and weight gradient of a rank per microbatch, and one transfer; "
                  "a trace takes them as milliseconds")
      .list(',', 4)
      .type_name("f,i,w,c")
      .show_default();
  verb.add_flag("--one-queue", arguments->one_queue, "Transfers of a rank wait for one another in one queue");
  verb.add_flag("--comm", arguments->lowered, "List sends and receives too");
  add_json(verb, arguments->json);
  verb.add_option("--svg", arguments->svg, "Draw the timeline into this file").type_name("FILE");
  verb.add_option("--trace", arguments->trace, "Write the timeline for Perfetto (Chrome trace JSON)").type_name("FILE");
  verb.footer(
      "bubble_ratio_stage_span, the share of the longest rank's own span, is timed as the zero-bubble paper does it:\n"
      "with a transfer cost, an interleaved schedule's later microbatches do not wait for what comes around. Time and\n"
      "bubble_ratio keep every wait.\n"
      "Examples:\n  trident schedule 1f1b --stages 4 --microbatches 8\n"
      "  trident schedule zb-h1 --stages 8 --microbatches 24 --costs 18.5,18.1,9.3,0.6 --svg zb-h1.svg");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
