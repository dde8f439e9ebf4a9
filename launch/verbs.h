#pragma once

#include <functional>

#include "launch/command_line.h"

namespace trident {

/// What main runs once the command line is parsed.
using Action = std::function<int()>;

// Each adds one verb to the command line; parsing it sets `action`.
void add_train(Verb& program, Action& action);
void add_launch(Verb& program, Action& action);
void add_chaos(Verb& program, Action& action);
void add_agent(Verb& program, Action& action);
void add_generate(Verb& program, Action& action);
void add_eval(Verb& program, Action& action);
void add_tokenize(Verb& program, Action& action);
void add_checkpoint(Verb& program, Action& action);
void add_config(Verb& program, Action& action);
void add_report(Verb& program, Action& action);
void add_doctor(Verb& program, Action& action);
void add_plan(Verb& program, Action& action);
void add_watch(Verb& program, Action& action);
void add_schedule(Verb& program, Action& action);

}  // namespace trident
