#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace trident {

/// What main runs once the command line is parsed.
using Action = std::function<int()>;

// Each adds one verb to the command line; parsing it sets `action`.
void add_train(CLI::App& program, Action& action);
void add_launch(CLI::App& program, Action& action);
void add_chaos(CLI::App& program, Action& action);
void add_agent(CLI::App& program, Action& action);
void add_generate(CLI::App& program, Action& action);
void add_eval(CLI::App& program, Action& action);
void add_tokenize(CLI::App& program, Action& action);
void add_checkpoint(CLI::App& program, Action& action);
void add_config(CLI::App& program, Action& action);
void add_report(CLI::App& program, Action& action);
void add_doctor(CLI::App& program, Action& action);
void add_plan(CLI::App& program, Action& action);
void add_watch(CLI::App& program, Action& action);
void add_schedule(CLI::App& program, Action& action);

}  // namespace trident
