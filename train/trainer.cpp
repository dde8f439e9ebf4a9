#include "train/trainer.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cmath>

#include "core/log.h"
#include "model/generator.h"
#include "train/config/config.h"
#include "train/evaluate.h"
#include "train/gemm_setup.h"
#include "train/job_setup.h"
#include "train/weights.h"

namespace trident {
namespace {

/// Seconds since construction or the last lap.
class Clock {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

double peak_memory_gib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

double to_mib(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

TrainingDataConfig data_config(const JobConfig& job) {
  TrainingDataConfig config;
  for (const auto& source : job.data.train) config.sources.push_back({source.path, source.weight});
  config.sequence_length = job.training.sequence_length;
  config.vocab_size = job.model.vocab_size;
  config.seed = static_cast<uint64_t>(job.run.seed);
  config.shuffle = job.data.shuffle;
  return config;
}

std::string_view name_of(config::TokenizerKind kind) {
  switch (kind) {
    case config::TokenizerKind::byte: return "byte";
    case config::TokenizerKind::gpt2_bpe: return "gpt2-bpe";
    case config::TokenizerKind::huggingface: return "huggingface";
  }
  return "byte";
}

std::unique_ptr<Tokenizer> open_tokenizer(const JobConfig& job) {
  auto tokenizer = make_tokenizer(name_of(job.tokenizer.kind), job.tokenizer.path.value_or(""));
  if (tokenizer->vocab_size() <= job.model.vocab_size) return tokenizer;
  throw Error(ErrorCode::config, "tokenizer",
              fmt::format("the tokenizer has {} tokens, more than model.vocab_size {}", tokenizer->vocab_size(),
                          job.model.vocab_size),
              fmt::format("set model.vocab_size to {} or more", tokenizer->vocab_size()));
}

}  // namespace

Trainer::Trainer(const JobConfig& job)
    : job_(job),
      run_(job.run.dir, job.run.name),
      tokenizer_(open_tokenizer(job)),
      data_(data_config(job)),
      schedule_(lr_schedule(job)),
      microbatches_(job.training.micro_batch_size.value(), job.training.sequence_length) {
  if (job_.data.validation)
    validation_.emplace(*job_.data.validation, job_.training.sequence_length, job_.model.vocab_size);

  const EngineOptions options = engine_options(job_);
  const GemmSetup gemms;
  const DryRun plan = dry_run(job_.model, options, gemms.meta_stream());
  report_plan(plan.memory);
  run_.create();
  log::add_file(run_.rank_log(0).string());
  const auto libraries = gemms.choose(run_.root() / "gemm.json");
  const Stream stream = Stream::cpu(static_cast<int>(job_.training.threads.value()));
  stream.attach(libraries);
  engine_.emplace(job_.model, options, plan, stream);
  optimizer_.emplace(engine_->model().storage(), adamw_options(job_));
  load_initial_weights();

  run_.write_config(to_yaml(job_));
  MetricsOptions metrics;
  metrics.facts = {job_.run.name, parameter_count(job_.model), job_.training.total_steps(), 1};
  metrics.console_interval = job_.logging.interval_steps;
  metrics.tensorboard = job_.logging.tensorboard;
  metrics_.emplace(run_, std::move(metrics));
}

Trainer::~Trainer() = default;

void Trainer::report_plan(const MemoryEstimate& memory) const {
  log::info("model {} | {:.2f}M parameters | {:.1f} MFLOP a token | {}", to_string(job_.model.architecture),
            static_cast<double>(parameter_count(job_.model)) / 1e6,
            flops_per_token(job_.model, job_.training.sequence_length) / 1e6, to_string(compute_dtype(job_)));
  log::info("data {} tokens, {} samples an epoch | {} samples a step in {} microbatches of {} × {} tokens",
            data_.tokens(), data_.samples_per_epoch(), job_.training.global_batch_size,
            (job_.training.global_batch_size + job_.training.micro_batch_size.value() - 1) /
                job_.training.micro_batch_size.value(),
            job_.training.micro_batch_size.value(), job_.training.sequence_length);
  log::info("memory {:.0f} MiB: parameters {:.0f}, gradients {:.0f}, optimizer {:.0f}, activations {:.0f} | {} threads",
            to_mib(memory.total()), to_mib(memory.parameters), to_mib(memory.gradients), to_mib(memory.optimizer),
            to_mib(memory.activations), job_.training.threads.value());
  if (memory.total() > available_memory()) {
    throw Error(ErrorCode::config, "memory",
                fmt::format("the job needs {:.0f} MiB, the system has {:.0f} left", to_mib(memory.total()),
                            to_mib(available_memory())),
                "lower training.micro_batch_size, or set training.recompute: selective or full");
  }
}

void Trainer::load_initial_weights() {
  ParameterStorage& storage = engine_->model().storage();
  if (const auto source = initial_weights(job_, run_)) {
    load_weights(*source, job_.model, storage, engine_->stream());
    log::info("weights from {}", source->string());
  } else {
    storage.initialize(static_cast<uint64_t>(job_.run.seed), engine_->stream());
  }
}

Trainer::StepResult Trainer::train_step(int64_t step) {
  const int64_t batch_size = job_.training.global_batch_size;
  StepResult result{};
  Clock clock;
  microbatches_.load(batch_size, [&](TokenBatch& batch, int64_t first, int64_t count) {
    data_.fill(batch, step * batch_size + first, count);
  });
  result.seconds.data = clock.lap();

  engine_->model().storage().zero_gradients(engine_->stream());
  double loss_sum = 0.0;
  for (int64_t i = 0; i < microbatches_.size(); ++i) loss_sum += engine_->forward_backward(microbatches_[i]);
  result.loss = loss_sum / static_cast<double>(microbatches_.labels());
  result.seconds.compute = clock.lap();

  result.lr = schedule_.at(step);
  result.grad_norm = optimizer_->gradient_norm(engine_->stream());
  if (std::isfinite(result.loss) && std::isfinite(result.grad_norm)) {
    optimizer_->step(engine_->stream(), step + 1, result.lr,
                     clip_scale(result.grad_norm, job_.training.clip_grad_norm));
  }
  result.seconds.optimizer = clock.lap();
  return result;
}

void Trainer::refuse_divergence(int64_t step, const StepResult& result) const {
  if (std::isfinite(result.loss) && std::isfinite(result.grad_norm)) return;
  throw Error(
      ErrorCode::diverged, "training",
      fmt::format("step {}: loss {}, gradient norm {}; samples {} … {}", step + 1, result.loss, result.grad_norm,
                  step * job_.training.global_batch_size, (step + 1) * job_.training.global_batch_size - 1),
      "lower optimizer.lr, lengthen lr_schedule.warmup_steps or set training.clip_grad_norm");
}

void Trainer::record(int64_t step, const StepResult& result, double step_s) {
  tokens_ += microbatches_.labels();
  StepMetrics metrics;
  metrics.step = step + 1;
  metrics.loss = result.loss;
  metrics.grad_norm = result.grad_norm;
  metrics.lr = result.lr;
  metrics.tokens = tokens_;
  metrics.step_s = step_s;
  metrics.tokens_per_s = static_cast<double>(microbatches_.labels()) / step_s;
  metrics.time_s = result.seconds;
  metrics.memory_gib_max = peak_memory_gib();
  metrics_->record(metrics);
}

void Trainer::evaluate_if_due(int64_t step) {
  const auto& evaluation = job_.evaluation;
  const bool last = step == job_.training.total_steps();
  if (!validation_ || evaluation.interval_steps == 0 || evaluated_step_ == step) return;
  if (!last && step % evaluation.interval_steps != 0) return;
  const int64_t windows = std::min(validation_->windows(), evaluation.batches * job_.training.global_batch_size);
  const Evaluation result = evaluate(*engine_, *validation_, windows, job_.training.micro_batch_size.value());
  EvalMetrics metrics;
  metrics.step = step;
  metrics.val_loss = result.loss;
  metrics.tokens = tokens_;
  metrics.seconds = result.seconds;
  metrics_->record(metrics);
  evaluated_step_ = step;
}

void Trainer::sample_if_due(int64_t step) {
  const auto& logging = job_.logging;
  if (logging.sample_interval_steps == 0 || step % logging.sample_interval_steps != 0) return;
  std::vector<int32_t> prompt = tokenizer_->encode(logging.sample_prompt.value_or("\n"));
  Generator generator(engine_->model(), engine_->stream());
  const SamplingOptions options{.temperature = 0.8, .seed = static_cast<uint64_t>(job_.run.seed)};
  const auto generated = generator.generate(prompt, logging.sample_tokens, options);
  prompt.insert(prompt.end(), generated.begin(), generated.end());
  metrics_->sample(step, tokenizer_->decode(prompt));
}

void Trainer::save_weights(int64_t step) {
  Clock clock;
  metrics_->event({.event = RunEvent::checkpoint_begin, .step = step});
  const auto folder = write_weights(run_, step, job_, engine_->model().storage());
  metrics_->event({.event = RunEvent::checkpoint_commit, .step = step, .seconds = clock.lap()});
  log::info("weights in {}", folder.string());
}

TrainingEnd Trainer::run(const std::atomic<bool>& stop) {
  const int64_t steps = job_.training.total_steps();
  const int64_t last = std::min(steps, job_.training.stop_after.value_or(steps));
  metrics_->event({.event = RunEvent::start});
  int64_t step = 0;
  try {
    for (; step < last && !stop; ++step) {
      Clock clock;
      const StepResult result = train_step(step);
      record(step, result, clock.lap());
      refuse_divergence(step, result);
      evaluate_if_due(step + 1);
      sample_if_due(step + 1);
    }
  } catch (const Error& error) {
    metrics_->event({.event = RunEvent::fault, .step = step, .detail = error.what()});
    save_weights(step);
    metrics_->finish();
    throw;
  }
  save_weights(step);
  const TrainingEnd end = step < last    ? TrainingEnd::preempted
                          : step < steps ? TrainingEnd::stopped
                                         : TrainingEnd::finished;
  metrics_->event({.event = RunEvent::stop, .step = step});
  metrics_->finish();
  return end;
}

}  // namespace trident
