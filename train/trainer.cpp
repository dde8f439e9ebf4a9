#include "train/trainer.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/log.h"
#include "model/generator.h"
#include "train/config/config.h"
#include "train/evaluate.h"
#include "train/gemm_setup.h"
#include "train/job_setup.h"
#include "train/start_report.h"
#include "train/weights.h"

namespace trident {
namespace {

using Span = pipeline::Timeline::Span;

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

Trainer::Trainer(const JobConfig& job, const Communicator& world)
    : job_(job),
      trace_(job.logging.trace_steps, world),
      mesh_(world, engine_options(job).layout.mesh, engine_options(job).layout.order),
      run_(job.run.dir, job.run.name),
      tokenizer_(open_tokenizer(job)),
      data_(data_config(job)),
      schedule_(lr_schedule(job)),
      microbatches_(job.training.micro_batch_size.value(), job.training.sequence_length) {
  if (job_.data.validation)
    validation_.emplace(*job_.data.validation, job_.training.sequence_length, job_.model.vocab_size);

  const EngineOptions options = engine_options(job_);
  const GemmSetup gemms;
  const DryRun plan = dry_run(job_.model, options, world.rank(), gemms.meta_stream());
  planned_ = plan.memory;
  open_run();
  if (is_first()) report_job(job_, options, data_);
  report_layout(options.layout, mesh_);
  require_memory(plan.memory, mesh_, job_.training.threads.value());
  const auto libraries = gemms.choose(run_.root() / "gemm.json", world);
  const Stream stream = Stream::cpu(static_cast<int>(job_.training.threads.value()));
  stream.attach(libraries);
  engine_.emplace(job_.model, options, mesh_, plan, stream, trace_.timeline());
  load_initial_weights();
  engine_->start_optimizer(adamw_options(job_));
  gatherer_.emplace(world, engine_->pieces());
  if (is_first()) open_metrics();
}

Trainer::~Trainer() = default;

// Rank 0 makes the folder that all ranks write into.
void Trainer::open_run() {
  if (is_first()) run_.create();
  mesh_.world().barrier();
  log::add_file(run_.rank_log(mesh_.world().rank()).string());
}

void Trainer::open_metrics() {
  run_.write_config(to_yaml(job_));
  MetricsOptions metrics;
  metrics.facts = {job_.run.name, parameter_count(job_.model), job_.training.total_steps(), mesh_.world().size()};
  metrics.console_interval = job_.logging.interval_steps;
  metrics.tensorboard = job_.logging.tensorboard;
  metrics_.emplace(run_, std::move(metrics));
}

void Trainer::load_initial_weights() {
  ParameterStorage& storage = engine_->model().storage();
  if (const auto source = initial_weights(job_, run_)) {
    load_weights(*source, job_.model, storage, engine_->stream());
    if (is_first()) log::info("weights from {}", source->string());
  } else {
    storage.initialize(static_cast<uint64_t>(job_.run.seed), engine_->stream());
  }
}

// The most of any rank, in one exchange.
void Trainer::agree(StepResult& result, bool stop) {
  PhaseSeconds& seconds = result.seconds;
  double most[] = {stop ? 1.0 : 0.0, seconds.data,      seconds.compute,  seconds.comm,
                   seconds.bubble,   seconds.optimizer, peak_memory_gib()};
  mesh_.world().all_reduce(std::span<double>(most), ReduceOp::max);
  stop_agreed_ = most[0] > 0;
  seconds = {most[1], most[2], most[3], most[4], most[5], 0.0};
  result.memory_gib_max = most[6];
}

Trainer::Waited Trainer::waited() const {
  return {mesh_.axis(Axis::dp).waited_seconds() + mesh_.axis(Axis::tp).waited_seconds(),
          mesh_.axis(Axis::pp).waited_seconds()};
}

Trainer::StepResult Trainer::train_step(int64_t step) {
  const int64_t batch_size = job_.training.global_batch_size, size = job_.training.micro_batch_size.value();
  const BatchShare share = engine_->share();
  const int64_t first = share.first_microbatch * size;
  const int64_t samples = std::min(batch_size - first, share.microbatches * size);
  StepResult result{};
  Clock clock;
  {
    const Span phase(trace_.timeline(), "data");
    microbatches_.load(share.microbatches, samples, [&](TokenBatch& batch, int64_t offset, int64_t count) {
      data_.fill(batch, step * batch_size + first + offset, count);
    });
    // Training data masks no label, so every rank knows how many the others have.
    TRIDENT_CHECK(microbatches_.labels() == samples * job_.training.sequence_length);
  }
  result.seconds.data = clock.lap();
  const Waited before = waited();
  {
    const Span phase(trace_.timeline(), "forward and backward");
    const double loss_sum = engine_->forward_backward(microbatches_.views(labels_of_a_step()));
    result.loss = loss_sum / static_cast<double>(labels_of_a_step());
  }
  const Waited after = waited();
  result.seconds.comm = after.comm - before.comm;
  result.seconds.bubble = after.bubble - before.bubble;
  result.seconds.compute = clock.lap() - result.seconds.comm - result.seconds.bubble;

  const Span phase(trace_.timeline(), "optimizer");
  result.lr = schedule_.at(step);
  result.grad_norm = engine_->gradient_norm();
  if (std::isfinite(result.loss) && std::isfinite(result.grad_norm))
    engine_->step(step + 1, result.lr, clip_scale(result.grad_norm, job_.training.clip_grad_norm));
  const double waiting = waited().comm - after.comm;
  result.seconds.comm += waiting;
  result.seconds.optimizer = clock.lap() - waiting;
  return result;
}

int64_t Trainer::labels_of_a_step() const { return job_.training.global_batch_size * job_.training.sequence_length; }

void Trainer::refuse_divergence(int64_t step, const StepResult& result) const {
  if (std::isfinite(result.loss) && std::isfinite(result.grad_norm)) return;
  throw Error(
      ErrorCode::diverged, "training",
      fmt::format("step {}: loss {}, gradient norm {}; samples {} … {}", step + 1, result.loss, result.grad_norm,
                  step * job_.training.global_batch_size, (step + 1) * job_.training.global_batch_size - 1),
      "lower optimizer.lr, lengthen lr_schedule.warmup_steps or set training.clip_grad_norm");
}

void Trainer::record(int64_t step, const StepResult& result, double step_s) {
  tokens_ += labels_of_a_step();
  if (!metrics_) return;
  StepMetrics metrics;
  metrics.step = step + 1;
  metrics.loss = result.loss;
  metrics.grad_norm = result.grad_norm;
  metrics.lr = result.lr;
  metrics.tokens = tokens_;
  metrics.step_s = step_s;
  metrics.tokens_per_s = static_cast<double>(labels_of_a_step()) / step_s;
  metrics.time_s = result.seconds;
  metrics.memory_gib_max = result.memory_gib_max;
  metrics_->record(metrics);
}

void Trainer::evaluate_if_due(int64_t step) {
  const auto& evaluation = job_.evaluation;
  const bool last = step == job_.training.total_steps();
  if (!validation_ || evaluation.interval_steps == 0 || evaluated_step_ == step) return;
  if (!last && step % evaluation.interval_steps != 0) return;
  const int64_t windows = std::min(validation_->windows(), evaluation.batches * job_.training.global_batch_size);
  const Evaluation result = evaluate(*engine_, *validation_, windows);
  EvalMetrics metrics;
  metrics.step = step;
  metrics.val_loss = result.loss;
  metrics.tokens = tokens_;
  metrics.seconds = result.seconds;
  if (metrics_) metrics_->record(metrics);
  evaluated_step_ = step;
}

void Trainer::sample_if_due(int64_t step) {
  const auto& logging = job_.logging;
  if (logging.sample_interval_steps == 0 || step % logging.sample_interval_steps != 0) return;
  engine_->wait_parameters();
  const MeshShape& mesh = mesh_.shape();
  if (mesh.tp == 1 && mesh.pp == 1) {
    if (is_first()) sample(step, engine_->model());
    return;
  }
  // Text takes a whole model: rank 0 borrows the others' parts.
  std::optional<Model> whole;
  if (is_first()) {
    whole.emplace(job_.model, compute_dtype(job_), Recompute::none, engine_->stream());
    whole->storage().release_master();
  }
  gather_weights(*gatherer_, whole ? &whole->storage() : nullptr, engine_->stream());
  if (whole) sample(step, *whole);
}

void Trainer::sample(int64_t step, const Model& model) {
  const auto& logging = job_.logging;
  std::vector<int32_t> prompt = tokenizer_->encode(logging.sample_prompt.value_or("\n"));
  Generator generator(model, engine_->stream());
  const SamplingOptions options{.temperature = 0.8, .seed = static_cast<uint64_t>(job_.run.seed)};
  const auto generated = generator.generate(prompt, logging.sample_tokens, options);
  prompt.insert(prompt.end(), generated.begin(), generated.end());
  metrics_->sample(step, tokenizer_->decode(prompt));
}

void Trainer::save_weights(int64_t step) {
  Clock clock;
  event({.event = RunEvent::checkpoint_begin, .step = step});
  engine_->wait_parameters();
  const auto folder = write_weights(run_, step, job_, *gatherer_);
  event({.event = RunEvent::checkpoint_commit, .step = step, .seconds = clock.lap()});
  if (is_first()) log::info("weights in {}", folder.string());
}

void Trainer::event(const EventRecord& record) {
  if (metrics_) metrics_->event(record);
}

void Trainer::train_until(int64_t last, int64_t& step, const std::atomic<bool>& stop) {
  for (; step < last && !stop_agreed_; ++step) {
    Clock clock;
    trace_.begin(step + 1);
    StepResult result = train_step(step);
    agree(result, stop);
    record(step, result, clock.lap());
    trace_.end(step + 1, run_, mesh_, engine_->schedule());
    refuse_divergence(step, result);
    evaluate_if_due(step + 1);
    sample_if_due(step + 1);
  }
}

TrainingEnd Trainer::run(const std::atomic<bool>& stop) {
  const int64_t steps = job_.training.total_steps();
  const int64_t last = std::min(steps, job_.training.stop_after.value_or(steps));
  event({.event = RunEvent::start});
  int64_t step = 0;
  try {
    train_until(last, step, stop);
  } catch (const Error& error) {
    event({.event = RunEvent::fault, .step = step, .detail = error.what()});
    // All ranks see a divergence at the same step. Any other error is one rank's own, and the rest may be gone.
    if (error.code() == ErrorCode::diverged || mesh_.world().size() == 1) save_weights(step);
    if (metrics_) metrics_->finish();
    throw;
  }
  if (step > 0 && is_first()) report_memory(engine_->resident(), planned_);
  save_weights(step);
  const TrainingEnd end = step < last    ? TrainingEnd::preempted
                          : step < steps ? TrainingEnd::stopped
                                         : TrainingEnd::finished;
  event({.event = RunEvent::stop, .step = step});
  if (metrics_) metrics_->finish();
  return end;
}

}  // namespace trident
