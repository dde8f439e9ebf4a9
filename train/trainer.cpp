#include "train/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/cuda_devices.h"
#include "core/log.h"
#include "kernels/attention.h"
#include "parallel/comm/exchange_text.h"
#include "train/checkpoint_facts.h"
#include "train/config/config.h"
#include "train/config/job_plan.h"
#include "train/evaluate.h"
#include "train/gemm_setup.h"
#include "train/job_setup.h"
#include "train/model_weights.h"
#include "train/rank_holdings.h"
#include "train/replica_check.h"
#include "train/start_report.h"
#include "train/state_fault.h"
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

std::optional<double> seconds_of(const std::optional<config::Seconds>& span) {
  return span ? std::optional(span->value) : std::nullopt;
}

Communicator with_stream(Communicator world, const Stream& stream) {
  world.set_stream(stream);
  return world;
}

/// Of the rank's process, or of its GPU, which others may use too.
double peak_memory_gib(Device device) {
  if (device.kind == DeviceKind::cuda) {
    const auto memory = cuda_memory(device.index);
    return memory ? static_cast<double>(memory->total - memory->free) / (1 << 30) : 0.0;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

// Where a state came from.
std::string name_of(const RestoredState& state) {
  if (state.from_copies.empty()) return "memory";
  const char* plural = state.from_copies.size() > 1 ? "s" : "";
  return fmt::format("memory, the part{} of rank{} {} from a peer's memory", plural, plural,
                     fmt::join(state.from_copies, ", "));
}

}  // namespace

Trainer::Trainer(const JobConfig& job, const Communicator& world, TrainerOptions trainer_options)
    : job_(job),
      options_(std::move(trainer_options)),
      trace_(job.logging.trace_steps, world),
      stream_(compute_stream(job)),
      mesh_(with_stream(world, stream_), engine_options(job).layout.mesh, engine_options(job).layout.order),
      run_(job.run.dir, job.run.name),
      plan_(agree_on_plan(plan_resume(job, run_), world)),
      inputs_(job),
      schedule_(lr_schedule(job)),
      microbatches_(job.training.micro_batch_size.value(), job.training.sequence_length),
      save_timer_(job.checkpoint.interval_steps, seconds_of(job.checkpoint.interval)),
      prediction_(is_first() ? options_.predicted_step_s : 0) {
  const EngineOptions options = engine_options(job_);
  const GemmSetup gemms(stream_.device());
  const DryRun plan =
      dry_run(job_.model, options, world.rank(), gemms.meta_stream(),
              Checkpointer::buffers_and_copies(!options_.snapshots.empty(), mesh_.ranks_per_node().size() > 1));
  planned_ = plan.memory;
  open_run();
  if (is_first()) report_job(job_, options, inputs_.training, stream_.device());
  report_layout(options.layout, mesh_);
  require_memory(plan.memory, mesh_, stream_, job_.training.threads.value());
  if (job_.precision.fp8) require_fp8(stream_);
  if (!job_.precision.deterministic) allow_unrepeatable_attention(stream_);
  gemms.choose(stream_, run_.gemm_choice(), world);
  engine_.emplace(job_.model, options, mesh_, plan, stream_, trace_.timeline());
  if (options_.progress != nullptr)
    engine_->set_before_action([this](const pipeline::Action& action) { options_.progress->action(action); });
  if (is_first()) open_metrics();
  start_or_resume();
  sampler_.emplace(job_, mesh_, *engine_, *inputs_.tokenizer);
}

Trainer::~Trainer() = default;

// Rank 0 makes the folder that all ranks write into.
void Trainer::open_run() {
  if (is_first()) {
    run_.create();
    if (!plan_.checkpoints.empty()) restore_gemm_choice(run_, plan_.checkpoints.front());
  }
  mesh_.world().barrier();
  log::add_file(run_.rank_log(mesh_.world().rank()).string());
}

void Trainer::open_metrics() {
  run_.write_config(to_yaml(job_));
  MetricsOptions metrics;
  metrics.facts = {job_.run.name, parameter_count(job_.model), job_.training.total_steps(), mesh_.world().size()};
  metrics.console_interval = job_.logging.interval_steps;
  metrics.tensorboard = job_.logging.tensorboard;
  metrics.attempt = options_.attempt;
  metrics_.emplace(run_, std::move(metrics));
}

// A state comes from the memory that outlived the processes before, from a checkpoint, or it starts anew.
void Trainer::start_or_resume() {
  enter(TrainPhase::resuming);
  if (plan_.checkpoints.empty()) load_initial_weights();
  engine_->start_optimizer(adamw_options(job_));
  checkpointer_.emplace(*engine_, checkpointer_options());
  tell_holdings();
  Clock clock;
  const auto resumed = resume();
  first_step_ = step_;
  checkpointer_->start(step_);
  tell_of_memory();
  if (options_.progress != nullptr) options_.progress->resumed(step_);
  if (!resumed) return;
  if (options_.progress != nullptr) options_.progress->committed(step_);
  engine_->refresh_compute_weights();
  event({.event = RunEvent::resume, .step = step_, .detail = resumed->folder.string(), .seconds = clock.lap()});
}

void Trainer::tell_holdings() {
  if (options_.progress == nullptr) return;
  options_.progress->holds({.stream = stream_,
                            .parameters = engine_->model().storage().parameters(),
                            .pieces = engine_->pieces(),
                            .settle =
                                [this] {
                                  engine_->wait_parameters();
                                  wait_copied();
                                },
                            .snapshot = [this] { return checkpointer_->newest_snapshot(); }});
}

CheckpointerOptions Trainer::checkpointer_options() const {
  CheckpointerOptions options;
  options.root = run_.checkpoints();
  options.files = options_.files;
  if (options_.progress != nullptr) options.may_commit = [this] { return options_.progress->may_commit(); };
  options.memory = options_.snapshots;
  options.attempt = broadcast_text(mesh_.world(), random_id());
  options.keep = job_.checkpoint.keep;
  options.keep_every_steps = job_.checkpoint.keep_every_steps;
  options.manifest = manifest_of(job_, run_id_of(run_, mesh_.world()));
  if (is_first()) options.attachments = attachments_of(job_, run_, special_tokens_of(plan_));
  return options;
}

std::optional<RestoredState> Trainer::restore_newest(int64_t at_least) {
  return checkpointer_->restore_newest(at_least, [this](const std::string& what) {
    log::error("damaged snapshot, {}; another copy or an older state is taken", what);
    event({.event = RunEvent::fault, .phase = "resume", .cause = "damaged snapshot", .detail = what});
  });
}

std::optional<ResumePoint> Trainer::resume() {
  int64_t on_disk[] = {newest_step(plan_)};
  mesh_.world().broadcast(std::span<int64_t>(on_disk), 0);
  if (const auto memory = restore_newest(on_disk[0])) {
    ResumePoint point{memory->seal.step, memory->seal.consumed_samples, name_of(*memory)};
    go_on_from(point);
    verified_step_ = -1;  // it is what was copied, but not compared yet
    if (step_ == on_disk[0] && plan_.checkpoints.front().parent_path() == run_.checkpoints()) saved_step_ = step_;
    return point;
  }
  verified_step_ = 0;
  auto point = load_newest(plan_, job_, checkpointer_->state(), mesh_.world(), [this](const std::string& what) {
    log::error("damaged checkpoint {}; the one before it is taken", what);
    event({.event = RunEvent::fault, .phase = "resume", .cause = "damaged checkpoint", .detail = what});
  });
  if (point) go_on_from(*point);
  return point;
}

void Trainer::go_on_from(const ResumePoint& point) {
  step_ = verified_step_ = point.step;
  samples_ = point.samples;
  tokens_ = samples_ * job_.training.sequence_length;
  const bool own = point.folder.parent_path() == run_.checkpoints();
  if (own) saved_step_ = step_;
  if (!is_first()) return;
  if (own) checkpointer_->set_verified(step_);
  log::info("resumed step {} from {}", step_, point.folder.string());
  const CheckpointRoot root(run_.checkpoints());
  if (const int aside = set_newer_aside(root, step_); aside > 0)
    log::warning("{} newer checkpoint{} set aside as {}/step_*.abandoned", aside, aside == 1 ? "" : "s",
                 root.path().string());
}

void Trainer::load_initial_weights() {
  ParameterStorage& storage = engine_->model().storage();
  if (plan_.weights) {
    const ModelWeights weights(*plan_.weights);
    require_same_model(weights.config(), job_.model, weights.folder());
    load_weights(weights, storage, engine_->stream());
    if (is_first()) log::info("weights from {}", weights.folder().string());
  } else {
    storage.initialize(static_cast<uint64_t>(job_.run.seed), engine_->stream());
  }
}

void Trainer::tell_of_memory() {
  if (checkpointer_->without_memory().empty()) return;
  options_.snapshots.clear();
  const std::string what = "no snapshots in shared memory: " + checkpointer_->without_memory();
  if (is_first()) log::warning("{}; a restart goes back to the newest checkpoint", what);
  event({.event = RunEvent::fault, .step = step_, .phase = "resume", .cause = "shared memory", .detail = what});
}

void Trainer::enter(TrainPhase phase) {
  const bool after = phase >= TrainPhase::checkpoint;
  if (options_.progress != nullptr) options_.progress->phase(phase, after ? step_ : step_ + 1);
}

// The most of any rank, in one exchange.
void Trainer::agree(StepResult& result, bool stop) {
  enter(TrainPhase::exchange);
  PhaseSeconds& seconds = result.seconds;
  double most[] = {stop ? 1.0 : 0.0,
                   seconds.data,
                   seconds.compute,
                   seconds.comm,
                   seconds.bubble,
                   seconds.optimizer,
                   seconds.checkpoint,
                   peak_memory_gib(stream_.device()),
                   is_first() && save_timer_.due_by_time() ? 1.0 : 0.0};
  mesh_.world().all_reduce(std::span<double>(most), ReduceOp::max);
  stop_agreed_ = most[0] > 0;
  seconds = {most[1], most[2], most[3], most[4], most[5], most[6]};
  result.memory_gib_max = most[7];
  save_agreed_ = most[8] > 0;
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
    enter(TrainPhase::data);
    const Span phase(trace_.timeline(), "data");
    microbatches_.load(share.microbatches, samples, [&](TokenBatch& batch, int64_t offset, int64_t count) {
      inputs_.training.fill(batch, samples_ + first + offset, count);
    });
    // Training data masks no label, so every rank knows how many the others have.
    TRIDENT_CHECK(microbatches_.labels() == samples * job_.training.sequence_length);
  }
  result.seconds.data = clock.lap();
  const Waited before = waited();
  {
    enter(TrainPhase::forward_backward);
    const Span phase(trace_.timeline(), "forward and backward");
    const double loss_sum = engine_->forward_backward(microbatches_.views(engine_->stream(), labels_of_a_step()));
    result.loss = loss_sum / static_cast<double>(labels_of_a_step());
  }
  const Waited after = waited();
  result.seconds.comm = after.comm - before.comm;
  result.seconds.bubble = after.bubble - before.bubble;
  result.seconds.compute = clock.lap() - result.seconds.comm - result.seconds.bubble;

  enter(TrainPhase::optimizer);
  const Span phase(trace_.timeline(), "optimizer");
  result.lr = schedule_.at(step);
  result.grad_norm = engine_->gradient_norm();
  wait_copied();
  const bool finite = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  if (finite) check_replicas(step);
  result.seconds.checkpoint = std::exchange(checkpoint_seconds_, 0.0);
  if (finite) engine_->step(step + 1, result.lr, clip_scale(result.grad_norm, job_.training.clip_grad_norm));
  const double waiting = waited().comm - after.comm;
  result.seconds.comm += waiting;
  result.seconds.optimizer = clock.lap() - waiting;
  return result;
}

int64_t Trainer::labels_of_a_step() const { return job_.training.global_batch_size * job_.training.sequence_length; }

// Another gang does the step again, from a state that was kept before it.
bool Trainer::tries_again(int64_t step) const {
  return options_.progress != nullptr && options_.suspect_step != step + 1;
}

// The one rank whose weights are not finite, or, where all are, whose loss is not; -1 where none or several are.
int Trainer::who_is_not_finite() {
  engine_->wait_parameters();
  const double mine[] = {weights_are_finite(*engine_) ? 0.0 : 1.0, std::isfinite(engine_->own_loss()) ? 0.0 : 1.0};
  std::vector<double> all(std::size(mine) * static_cast<size_t>(mesh_.world().size()));
  mesh_.world().all_gather(std::span<const double>(mine), std::span<double>(all));
  for (size_t sign = 0; sign < std::size(mine); ++sign) {
    std::vector<int> ranks;
    for (int rank = 0; rank < mesh_.world().size(); ++rank)
      if (all[static_cast<size_t>(rank) * std::size(mine) + sign] > 0) ranks.push_back(rank);
    if (ranks.size() == 1) return ranks.front();
  }
  return -1;
}

// What is not finite may stand in the weights already.
void Trainer::go_back_to_snapshot() {
  wait_copied();
  (void)restore_newest(step_);
}

void Trainer::refuse_divergence(int64_t step, const StepResult& result) {
  if (std::isfinite(result.loss) && std::isfinite(result.grad_norm)) return;
  throw StateFault(StateFault::Kind::not_finite, who_is_not_finite(), step + 1,
                   fmt::format("step {}: loss {}, gradient norm {}; samples {} … {}", step + 1, result.loss,
                               result.grad_norm, samples_, samples_ + job_.training.global_batch_size - 1),
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

// As late as it can be before the optimizer makes every change everybody's: from then on all copies would agree.
void Trainer::check_replicas(int64_t step) {
  const int64_t interval = job_.fault.check_replicas_steps;
  if (interval > 0 && (step % interval == 0 || step == first_step_)) compare_replicas(step);
}

// So that what is saved is known to be good.
void Trainer::check_before_save() {
  if (job_.fault.check_replicas_steps > 0 && verified_step_ != step_ && saved_step_ != step_) compare_replicas(step_);
}

void Trainer::compare_replicas(int64_t step) {
  engine_->wait_parameters();
  const ProofResult found =
      compare_proofs(prove_state(*engine_, checkpointer_->is_as_copied(step)), mesh_, job_.parallelism.rank_order);
  if (found.equal) {
    verified_step_ = step;
    return;
  }
  // The snapshot of this step was taken before the change.
  if (found.at_rest) verified_step_ = step;
  throw StateFault(StateFault::Kind::corrupted, found.rank, step + 1,
                   fmt::format("after step {}: {}", step, found.text),
                   "memory, a processor or an accelerator corrupts data: test the rank's host");
}

// What was kept since the last comparison may hold what this one found.
void Trainer::forget_unverified() {
  tell(checkpointer_->finish());
  checkpointer_->forget_newer(verified_step_);
  if (!is_first() || verified_step_ < 0) return;
  const CheckpointRoot root(run_.checkpoints());
  if (const int aside = set_newer_aside(root, verified_step_); aside > 0)
    log::warning("{} checkpoint{} newer than step {} set aside as {}/step_*.abandoned", aside, aside == 1 ? "" : "s",
                 verified_step_, root.path().string());
}

void Trainer::evaluate_if_due(int64_t step) {
  const auto& evaluation = job_.evaluation;
  const bool last = step == job_.training.total_steps();
  if (!inputs_.validation || evaluation.interval_steps == 0 || evaluated_step_ == step) return;
  if (!last && step % evaluation.interval_steps != 0) return;
  const int64_t windows = std::min(inputs_.validation->windows(), evaluation.batches * job_.training.global_batch_size);
  enter(TrainPhase::evaluation);
  const Evaluation result = evaluate(*engine_, *inputs_.validation, windows);
  EvalMetrics metrics;
  metrics.step = step;
  metrics.val_loss = result.loss;
  metrics.tokens = tokens_;
  metrics.seconds = result.seconds;
  if (metrics_) metrics_->record(metrics);
  evaluated_step_ = step;
}

void Trainer::sample_if_due(int64_t step) {
  if (!sampler_->due(step)) return;
  enter(TrainPhase::sampling);
  if (const auto text = sampler_->sample()) metrics_->sample(step, *text);
}

void Trainer::save_if_due() {
  enter(TrainPhase::checkpoint);
  if (save_timer_.due_by_step(step_) || save_agreed_) {
    check_before_save();
    save();
  } else if (const int64_t interval = job_.fault.snapshot_interval_steps; interval > 0 && step_ % interval == 0) {
    snapshot();
  }
  tell(checkpointer_->poll());
}

void Trainer::snapshot() {
  checkpointer_->snapshot(step_, samples_);
  copied_step_ = step_;
}

void Trainer::wait_copied() {
  checkpoint_seconds_ += checkpointer_->wait_copied();
  if (options_.progress != nullptr && checkpointer_->outlives_process() && copied_step_ >= 0)
    options_.progress->committed(copied_step_);
}

void Trainer::save() {
  if (saved_step_ == step_) return;
  Clock clock;
  if (job_.checkpoint.when_behind == config::WhenBehind::wait) {
    while (checkpointer_->full()) tell(checkpointer_->finish_one());
  }
  if (checkpointer_->save(step_, samples_)) {
    event({.event = RunEvent::checkpoint_begin, .step = step_});
    saved_step_ = copied_step_ = step_;
    save_timer_.saved();
    if (!job_.checkpoint.async) tell(checkpointer_->finish());
  } else if (++skipped_saves_ == 1) {
    // Said once, however long storage hangs.
    const std::string what =
        fmt::format("no checkpoint of step {}: storage still writes what came before it; training goes on", step_);
    if (is_first()) log::warning("{}", what);
    event({.event = RunEvent::fault, .step = step_, .phase = "checkpoint", .cause = "slow storage", .detail = what});
  }
  checkpoint_seconds_ += clock.lap();
}

void Trainer::save_at_end() {
  enter(TrainPhase::ending);
  tell(checkpointer_->finish());
  if (saved_step_ == step_) return;
  save();
  tell(checkpointer_->finish());
}

void Trainer::tell(const std::vector<SaveOutcome>& outcomes) {
  for (const SaveOutcome& outcome : outcomes) {
    if (const int64_t skipped = std::exchange(skipped_saves_, 0); skipped > 0 && is_first())
      log::info("storage has caught up; {} checkpoint{} left out", skipped, skipped == 1 ? " was" : "s were");
    if (outcome.error.empty()) {
      if (options_.progress != nullptr) options_.progress->committed(outcome.step);
      event({.event = RunEvent::checkpoint_commit, .step = outcome.step, .seconds = outcome.seconds});
      if (is_first()) log::info("checkpoint {} in {:.2f} s", run_.checkpoint(outcome.step).string(), outcome.seconds);
      continue;
    }
    if (saved_step_ == outcome.step) saved_step_ = -1;
    failed_save_ = outcome.error;
    event({.event = RunEvent::fault,
           .step = outcome.step,
           .rank = outcome.rank,
           .phase = "checkpoint",
           .cause = "storage",
           .detail = outcome.error});
    if (is_first()) log::error("no checkpoint of step {}: {}; training goes on", outcome.step, outcome.error);
  }
}

void Trainer::event(const EventRecord& record) {
  if (metrics_) metrics_->event(record);
}

void Trainer::train_until(int64_t last, const std::atomic<bool>& stop) {
  while (step_ < last && !stop_agreed_) {
    Clock clock;
    trace_.begin(step_ + 1);
    StepResult result = train_step(step_);
    const double busy = result.seconds.data + result.seconds.compute + result.seconds.optimizer;
    agree(result, stop);
    const double step_s = clock.lap();
    record(step_, result, step_s);
    prediction_.measured(step_s);
    trace_.end(step_ + 1, run_, mesh_, engine_->schedule());
    refuse_divergence(step_, result);
    ++step_;
    if (options_.progress != nullptr) options_.progress->step_done(step_, result.loss, busy);
    samples_ += job_.training.global_batch_size;
    save_if_due();
    evaluate_if_due(step_);
    sample_if_due(step_);
  }
}

TrainingEnd Trainer::run(const std::atomic<bool>& stop) {
  const int64_t steps = job_.training.total_steps();
  const int64_t last = std::min(steps, job_.training.stop_after.value_or(steps));
  const int64_t first = step_;
  try {
    train_until(last, stop);
    check_before_save();
  } catch (const Error& error) {
    event({.event = RunEvent::fault, .step = step_, .detail = error.what()});
    const auto* const fault = dynamic_cast<const StateFault*>(&error);
    if (fault != nullptr && fault->kind() == StateFault::Kind::corrupted) forget_unverified();
    // All ranks see a divergence at the same step. Any other error is one rank's own, and the rest may be gone.
    const bool save =
        error.code() == ErrorCode::diverged ? !tries_again(step_) : fault == nullptr && mesh_.world().size() == 1;
    if (save) {
      go_back_to_snapshot();
      save_at_end();
    }
    if (metrics_) metrics_->finish();
    throw;
  }
  if (step_ > first) report_memory(engine_->resident(), planned_, mesh_.world());
  if (step_ == first && first > 0 && is_first()) log::info("nothing to train: {} steps are done", step_);
  save_at_end();
  const TrainingEnd end = step_ < last    ? TrainingEnd::preempted
                          : step_ < steps ? TrainingEnd::stopped
                                          : TrainingEnd::finished;
  event({.event = RunEvent::stop, .step = step_});
  if (metrics_) metrics_->finish();
  if (saved_step_ != step_)
    throw Error(ErrorCode::io, "checkpoint",
                fmt::format("the state after step {} could not be saved: {}", step_, failed_save_),
                "make room or mend the storage, and start the same command again: it goes on from the last checkpoint");
  return end;
}

}  // namespace trident
