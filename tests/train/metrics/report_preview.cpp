#include <cmath>
#include <cstdlib>
#include <iostream>
#include <random>

#include "core/error.h"
#include "train/metrics/metrics_log.h"

// Writes a run directory with made-up metrics, for other people's tools and for eyes:
//   report_preview DIR STEPS [MODEL_FLOPS_KNOWN]
// A fault with a restart at two thirds, a loss spike and one NaN are in it.
namespace {

using namespace trident;

StepMetrics made_up_step(std::int64_t step, std::int64_t total, std::mt19937& random) {
  std::normal_distribution<double> noise;
  const double progress = static_cast<double>(step) / static_cast<double>(total);
  StepMetrics metrics;
  metrics.step = step;
  metrics.loss = 1.8 + 3.7 * std::exp(-9 * progress) + 0.3 * (1 - progress) + 0.05 * noise(random);
  metrics.grad_norm = 0.4 + 2.5 * std::exp(-12 * progress) + 0.05 * std::abs(noise(random));
  if (step == total * 45 / 100 && total > 50) {
    metrics.loss += 1.1;
    metrics.grad_norm = 7.3;
  }
  if (step == total * 8 / 10 + 3 && total > 50) metrics.loss = NAN;
  metrics.lr =
      progress < 0.1 ? 1e-2 * progress : 1e-3 * (0.1 + 0.9 * 0.5 * (1 + std::cos(M_PI * (progress - 0.1) / 0.9)));
  metrics.tokens = 2048 * step;
  const double slow = step % 97 == 0 ? 0.04 : 0;
  metrics.time_s = {.data = 0.002 + 0.001 * std::abs(noise(random)),
                    .compute = 0.12 + 0.004 * noise(random),
                    .comm = 0.018 + 0.003 * std::abs(noise(random)) + slow,
                    .bubble = 0.021,
                    .optimizer = 0.008,
                    .checkpoint = step % 100 == 0 ? 0.03 : 0.0005};
  metrics.step_s = 0.004 + metrics.time_s.data + metrics.time_s.compute + metrics.time_s.comm + metrics.time_s.bubble +
                   metrics.time_s.optimizer + metrics.time_s.checkpoint;
  metrics.tokens_per_s = 2048 / metrics.step_s;
  metrics.memory_gib_max = 0.41 + (step > total / 20 ? 0.02 : 0);
  return metrics;
}

void make_attempt(const RunDirectory& run, std::int64_t first, std::int64_t last, std::int64_t total, bool fails) {
  MetricsOptions options{.facts = {.parameters = 834'304, .total_steps = total, .ranks = 4}};
  options.console_interval = std::max<std::int64_t>(1, total / 8);
  MetricsLog log(run, options);
  std::mt19937 random(static_cast<unsigned>(first));
  log.event({.event = first == 1 ? RunEvent::start : RunEvent::resume,
             .step = first - 1,
             .detail = "dp=2 tp=1 pp=2, 4 ranks, 1f1b"});
  for (std::int64_t step = first; step <= last; ++step) {
    log.record(made_up_step(step, total, random));
    if (step % std::max<std::int64_t>(1, total / 10) == 0) {
      const double train = made_up_step(step, total, random).loss;
      log.record(EvalMetrics{.step = step, .val_loss = train + 0.06, .tokens = 2048 * step, .seconds = 0.9});
      log.event({.event = RunEvent::checkpoint_commit, .step = step, .detail = "checkpoints/step", .seconds = 0.21});
      log.sample(step, "And the LORD said unto <Moses> & Aaron, Go in unto\nthe king of the land of Egypt");
    }
  }
  if (fails) {
    log.event({.event = RunEvent::fault,
               .step = last,
               .rank = 3,
               .host = "node07",
               .pid = 4121,
               .phase = "all_reduce",
               .cause = "SIGKILL",
               .detail = "rank 3 vanished; others waited in the dp all-reduce",
               .seconds = 0.3});
    log.event({.event = RunEvent::restart, .step = last, .detail = "4 ranks from the snapshot", .seconds = 1.4});
  } else {
    log.event({.event = RunEvent::stop, .step = last, .cause = "complete"});
    log.finish();
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::cerr << "usage: report_preview DIR STEPS\n";
    return 64;
  }
  try {
    const RunDirectory run{std::filesystem::path(arguments[1])};
    const std::int64_t total = std::atoll(arguments[2]);
    run.create();
    run.write_config(
        "run: {name: preview, dir: runs, seed: 1234}\nmodel:\n  architecture: llama\n  hidden_size: 128\n"
        "parallelism: {dp: 2, tp: 1, pp: 2, schedule: 1f1b}\noptimizer: {name: adamw, lr: 1.0e-3}\n");
    const std::int64_t fault = total * 2 / 3;
    if (total > 10) make_attempt(run, 1, fault, total, true);
    make_attempt(run, total > 10 ? fault - total / 50 : 1, total, total, false);
    write_loss_curve(read_metrics(run.metrics()), run.root() / "loss.svg");
  } catch (const Error& error) {
    std::cerr << error.what() << '\n';
    return error.exit_code();
  }
  return 0;
}
