#include "train/config/config.h"

#include <iostream>
#include <string>
#include <vector>

#include "launch/options.h"
#include "launch/verbs.h"

namespace trident {
namespace {

struct Arguments {
  std::string job;
  std::vector<std::string> overrides;
  bool origin = false;
};

int show(const Arguments& arguments) {
  ResolvedOrigins origins;
  const JobConfig job = load_job(arguments.job, arguments.overrides, &origins);
  for (const std::string& warning : origins.warnings) std::cerr << warning << '\n';
  std::cout << (arguments.origin ? to_yaml_with_origins(job, origins) : to_yaml(job));
  return 0;
}

int schema() {
  std::cout << json_schema() << '\n';
  return 0;
}

int keys() {
  std::cout << key_table();
  return 0;
}

}  // namespace

void add_config(Verb& program, Action& action) {
  Verb verb = program.add_verb("config", "Look at a job's configuration");
  verb.require_verb();

  auto arguments = std::make_shared<Arguments>();
  Verb shown = verb.add_verb("show", "The resolved configuration, which can be run again");
  add_job(shown, arguments->job, arguments->overrides);
  shown.add_flag("--origin", arguments->origin, "Say where each value comes from");
  shown.footer("Example:\n  trident config show configs/smoke.yaml training.steps=10 --origin");
  shown.on_parsed([&action, arguments] { action = [arguments] { return show(*arguments); }; });

  Verb printed = verb.add_verb("schema", "JSON Schema of the job file, for editors");
  printed.on_parsed([&action] { action = schema; });

  Verb listed = verb.add_verb("keys", "Every key with its default, its values and its meaning");
  listed.on_parsed([&action] { action = keys; });
}

}  // namespace trident
