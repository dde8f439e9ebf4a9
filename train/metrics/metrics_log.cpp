#include "train/metrics/metrics_log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <utility>
#include <vector>

#include "core/atomic_file.h"
#include "core/log.h"
#include "train/metrics/sparkline.h"

namespace trident {
namespace {

// Creates the folder and mends the files before they are opened for appending; gives the attempt that begins.
int prepare(const RunDirectory& run, int attempt) {
  run.create();
  truncate_torn_line(run.metrics());
  truncate_torn_line(run.events());
  return attempt > 0 ? attempt : run.previous_attempt() + 1;
}

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Markdown shows indented text as it is.
std::string as_code_block(std::string_view text) {
  std::string out = "    ";
  for (const char character : text) {
    out += character;
    if (character == '\n') out += "    ";
  }
  return out;
}

MetricsOptions with_style(MetricsOptions options) {
  if (!options.style) options.style = console_style(STDERR_FILENO);
  return options;
}

// Beside the scale, within the console.
int plot_columns(const ConsoleStyle& style) {
  constexpr int kMost = 64, kLeast = 16, kScale = 12;
  return style.columns == 0 ? kMost : std::clamp(style.columns - kScale, kLeast, kMost);
}

}  // namespace

MetricsLog::MetricsLog(RunDirectory run, MetricsOptions options)
    : run_(std::move(run)),
      options_(with_style(std::move(options))),
      attempt_(prepare(run_, options_.attempt)),
      metrics_file_(run_.metrics()),
      events_file_(run_.events()),
      step_line_(options_.facts.total_steps, *options_.style) {
  if (!options_.tensorboard) return;
  tensorboard_.emplace(run_.tensorboard());
  const std::string config = run_.read_config();
  if (attempt_ == 1 && !config.empty()) tensorboard_->text(0, "config", as_code_block(config));
}

template <class Action>
void MetricsLog::guarded(const char* what, Action action) noexcept {
  try {
    action();
  } catch (const std::exception& failure) {
    if (std::exchange(warned_, true)) return;
    try {
      log::warning("{} failed: {}; training goes on", what, failure.what());
    } catch (...) {
      return;  // where even the log fails there is nobody to tell
    }
  }
}

void MetricsLog::record(StepMetrics metrics) noexcept {
  guarded("recording a step", [&] {
    metrics.attempt = attempt_;
    if (std::isnan(metrics.time)) metrics.time = unix_time();
    metrics_file_.append(to_json_line(metrics));
    step_line_.observe(metrics);
    if (tensorboard_) tensorboard_step(metrics);
    const std::int64_t interval = options_.console_interval;
    const bool last = metrics.step == options_.facts.total_steps;
    if (interval > 0 && (metrics.step % interval == 0 || last)) print(step_line_.text());
  });
}

void MetricsLog::record(EvalMetrics metrics) noexcept {
  guarded("recording an evaluation", [&] {
    metrics.attempt = attempt_;
    if (std::isnan(metrics.time)) metrics.time = unix_time();
    metrics_file_.append(to_json_line(metrics));
    step_line_.observe(metrics);
    if (tensorboard_) {
      start_tensorboard_session(metrics.step + 1);
      const std::array values{tensorboard::Scalar{"val/loss", metrics.val_loss}};
      tensorboard_->scalars(metrics.step, values);
    }
    if (options_.console_interval > 0) print(step_line_.text(metrics));
  });
}

void MetricsLog::sample(std::int64_t step, std::string_view text) noexcept {
  guarded("recording a sample", [&] {
    EventRecord record;
    record.event = RunEvent::sample;
    record.step = step;
    record.detail = text;
    event(std::move(record));
    if (tensorboard_) {
      start_tensorboard_session(step + 1);
      tensorboard_->text(step, "sample", as_code_block(text));
    }
  });
}

void MetricsLog::event(EventRecord record) noexcept {
  guarded("recording an event", [&] {
    record.attempt = attempt_;
    if (record.host.empty()) record.host = host_name();
    if (!record.pid) record.pid = process_id();
    events_file_.append(to_json_line(record));
  });
}

void MetricsLog::finish() noexcept {
  guarded("writing report.html", [&] {
    const ReportData data = load_report_data(run_, options_.facts);
    std::vector<std::int64_t> steps;
    std::vector<double> losses;
    for (const StepMetrics& step : data.history.steps) {
      steps.push_back(step.step);
      losses.push_back(step.loss);
    }
    if (options_.console_interval > 0) {
      std::string plot = braille_plot(steps, losses, plot_columns(*options_.style), 5);
      if (plot.ends_with('\n')) plot.pop_back();
      if (!plot.empty()) print(plot);
    }
    write_file_atomically(run_.report(), render_report(data));
  });
}

void MetricsLog::start_tensorboard_session(std::int64_t step) {
  if (std::exchange(session_started_, true) || attempt_ == 1) return;
  tensorboard_->start_session(step);
  const std::array values{tensorboard::Scalar{"fault/restarts", static_cast<double>(attempt_ - 1)}};
  tensorboard_->scalars(step, values);
}

void MetricsLog::tensorboard_step(const StepMetrics& metrics) {
  start_tensorboard_session(metrics.step);
  const PhaseSeconds& time = metrics.time_s;
  std::vector<tensorboard::Scalar> values{
      {"train/loss", metrics.loss},
      {"train/grad_norm", metrics.grad_norm},
      {"train/lr", metrics.lr},
      {"perf/tokens_per_sec_per_gpu", metrics.tokens_per_s / std::max(options_.facts.ranks, 1)},
      {"time/step", metrics.step_s},
      {"time/data", time.data},
      {"time/compute", time.compute},
      {"time/comm", time.comm},
      {"time/bubble", time.bubble},
      {"time/optimizer", time.optimizer},
      {"time/checkpoint", time.checkpoint},
      {"memory/max_gib", metrics.memory_gib_max},
  };
  if (metrics.mfu) values.push_back({"perf/mfu", *metrics.mfu});
  tensorboard_->scalars(metrics.step, values);
}

void MetricsLog::print(std::string_view line) const {
  if (options_.console) {
    options_.console(line);
    return;
  }
  std::string text(line);
  text += '\n';
  // One write, so that lines of several processes do not mix.
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace trident
