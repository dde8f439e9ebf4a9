#include <csignal>
#include <cstdio>
#include <exception>

#include "core/error.h"
#include "core/log.h"
#include "launch/command_line.h"
#include "launch/exit.h"
#include "launch/verbs.h"
#include "launch/version.h"

namespace trident {
namespace {

int run(int argc, char** argv) {
  log::configure(log::Level::info, -1);
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the user's limit is an error of that write, as on a full disk
  CommandLine command_line("Trident trains large language models with data, tensor and pipeline parallelism.",
                           version_text());
  Verb program = command_line.root();
  program.footer(
      "Exit codes: 0 ok, 64 usage, 65 bad data, 66 input missing, 69 peer lost, 70 bug, 74 I/O,\n"
      "75 preempted after saving, 76 diverged, 78 configuration.");
  Action action;
  add_train(program, action);
  add_launch(program, action);
  add_chaos(program, action);
  add_watch(program, action);
  add_agent(program, action);
  add_generate(program, action);
  add_eval(program, action);
  add_tokenize(program, action);
  add_checkpoint(program, action);
  add_config(program, action);
  add_report(program, action);
  add_doctor(program, action);
  add_schedule(program, action);
  add_plan(program, action);
  if (const auto code = command_line.parse(argc, argv)) return *code;
  return guarded(action);
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) {
  // Errors of verbs are told by guarded(); this is for what fails before one is chosen.
  try {
    return trident::run(argc, argv);
  } catch (const std::exception& error) {
    std::fputs(error.what(), stderr);
  } catch (...) {
    std::fputs("unknown failure", stderr);
  }
  return static_cast<int>(trident::ErrorCode::internal);
}
