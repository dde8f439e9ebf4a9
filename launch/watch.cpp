#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "launch/run_facts.h"
#include "launch/status/watch_screen.h"
#include "launch/status/watch_source.h"
#include "launch/verbs.h"
#include "train/config/config.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string what;
  std::vector<std::string> overrides;
  double every = 1;
  bool once = false;
  bool json = false;
};

// A run's folder, or the run that a job file makes.
RunDirectory run_of(const std::string& what, const std::vector<std::string>& overrides) {
  std::error_code ignored;
  if (fs::is_directory(what, ignored)) return RunDirectory(fs::path(what));
  if (!fs::is_regular_file(what, ignored))
    throw Error(ErrorCode::input_missing, "watch", what + " is neither a run's folder nor a job file",
                "name <run.dir>/<run.name>, or the job that was started");
  const JobConfig job = load_job(what, overrides);
  return {job.run.dir, job.run.name};
}

void refuse_unless_run(const RunDirectory& run) {
  std::error_code ignored;
  for (const auto& file : {run.metrics(), run.events(), run.epochs(), run.config()}) {
    if (fs::exists(file, ignored)) return;
  }
  throw Error(ErrorCode::input_missing, "watch",
              run.root().string() + " is no run: it has neither events.jsonl nor metrics.jsonl",
              "start the job, or name a run's folder, <run.dir>/<run.name>");
}

int rows_of_terminal() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

volatile std::sig_atomic_t interrupted = 0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string screen_of(WatchSource& source, const ConsoleStyle& style, int rows) {
  const auto state = source.state();
  return watch_screen(state.json, state.from, style, rows);
}

// The alternate screen, so that what stood there before comes back; each picture in one write.
int follow(WatchSource& source, double every) {
  std::signal(SIGINT, [](int) { interrupted = 1; });
  std::signal(SIGTERM, [](int) { interrupted = 1; });
  print("\x1b[?1049h\x1b[?25l");
  while (interrupted == 0) {
    std::string picture = "\x1b[H";
    std::string screen = screen_of(source, console_style(STDOUT_FILENO), rows_of_terminal());
    screen.pop_back();  // the last line's end would move the picture up
    for (const char character : screen)
      picture += character == '\n' ? std::string("\x1b[K\n") : std::string(1, character);
    print(picture + "\x1b[K\x1b[J");
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(every);
    while (interrupted == 0 && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  print("\x1b[?25h\x1b[?1049l");
  return 0;
}

int run(const Arguments& arguments) {
  const RunDirectory folder = run_of(arguments.what, arguments.overrides);
  refuse_unless_run(folder);
  WatchSource source(folder, facts_of(folder));
  if (arguments.json) {
    print(source.state().json + "\n");
    return 0;
  }
  if (!arguments.once && ::isatty(STDOUT_FILENO) != 0) return follow(source, arguments.every);
  print(screen_of(source, console_style(STDOUT_FILENO), 0));
  return 0;
}

}  // namespace

void add_watch(Verb& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verb = program.add_verb("watch", "Show a run in the terminal while it goes on, or after it");
  verb.add_option("run", arguments->what, "The run's folder, or its job file").required().type_name("RUN_OR_JOB");
  verb.add_option("overrides", arguments->overrides, "Values that replace the job file's").type_name("key=value");
  verb.add_flag("--once", arguments->once, "One picture; so too where standard output is no terminal");
  verb.add_flag("--json", arguments->json, "The state as /api/state gives it, once");
  verb.add_option("--every", arguments->every, "Seconds between pictures").real_range(0.1, 3600.0).type_name("S");
  verb.footer(
      "Ctrl-C ends it; the run goes on. Ranks are shown where trident launch runs on this machine.\n"
      "Examples:\n  trident watch runs/kjv\n  trident watch configs/quickstart.yaml --once");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
