#include "train/metrics/report.h"

#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <string>

#include "core/error.h"
#include "launch/run_facts.h"
#include "launch/verbs.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string run;
  std::string loss_svg;
};

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

void add_report(Verb& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verb = program.add_verb("report", "Write a run's report.html anew, and its loss curve");
  verb.add_option("run", arguments->run, "The run's folder; it may still be training").required().type_name("RUN");
  verb.add_option("--loss-svg", arguments->loss_svg, "Also writes the loss curve alone, as SVG").type_name("FILE");
  verb.footer(
      "Prints the names of the files it wrote.\n"
      "Example:\n  trident report runs/kjv --loss-svg loss.svg");
  verb.on_parsed([&action, arguments] { action = [arguments] { return write(*arguments); }; });
}

}  // namespace trident
