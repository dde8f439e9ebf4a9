#include "train/metrics/report.h"

#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <string>

#include "core/error.h"
#include "core/log.h"
#include "launch/verbs.h"
#include "train/config/config.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string run;
  std::string loss_svg;
};

/// What the run's configuration says of it; a report can do without.
RunFacts facts_of(const RunDirectory& run) {
  const std::string text = run.read_config();
  if (text.empty()) return {};
  try {
    const JobConfig job = parse_job(text, run.config().string());
    const auto& layout = job.parallelism;
    const int64_t ranks = layout.dp.value_or(1) * layout.tp.value_or(1) * layout.pp.value_or(1);
    return {job.run.name, parameter_count(job.model), job.training.total_steps(), static_cast<int>(ranks)};
  } catch (const Error& error) {
    log::warning("the report lacks what {} says: {}", run.config().string(), error.what());
    return {};
  }
}

int write(const Arguments& arguments) {
  const RunDirectory run{fs::path(arguments.run)};
  if (!fs::is_regular_file(run.metrics())) {
    throw Error(ErrorCode::input_missing, "report", arguments.run + " is no run: it has no metrics.jsonl",
                "name a run's folder, <run.dir>/<run.name>");
  }
  write_report(run, facts_of(run));
  std::cout << run.report().string() << '\n';
  if (arguments.loss_svg.empty()) return 0;
  write_loss_curve(read_metrics(run.metrics()), arguments.loss_svg);
  std::cout << arguments.loss_svg << '\n';
  return 0;
}

}  // namespace

void add_report(CLI::App& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = program.add_subcommand("report", "Write a run's report.html anew, and its loss curve");
  verb->add_option("run", arguments->run, "The run's folder; it may still be training")->required()->type_name("RUN");
  verb->add_option("--loss-svg", arguments->loss_svg, "Also writes the loss curve alone, as SVG")->type_name("FILE");
  verb->footer(
      "Prints the names of the files it wrote.\n"
      "Example:\n  trident report runs/kjv --loss-svg loss.svg");
  verb->callback([&action, arguments] { action = [arguments] { return write(*arguments); }; });
}

}  // namespace trident
