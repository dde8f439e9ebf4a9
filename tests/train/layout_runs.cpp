#include "tests/train/layout_runs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstring>

#include "core/error.h"
#include "tests/model/global_index.h"

namespace trident::testing {
namespace {

void fill_samples(TokenBatch& batch, const ModelConfig& model, int64_t length, int64_t first, int64_t count) {
  batch.reset(count, length);
  batch.inputs.assign(static_cast<size_t>(count * length), 0);
  batch.labels.assign(static_cast<size_t>(count * length), 0);
  const RandomStream random(7, "samples");
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t t = 0; t < length; ++t) {
      const auto at = static_cast<size_t>(row * length + t);
      const auto global = static_cast<uint64_t>((first + row) * (length + 1) + t);
      const auto vocabulary = static_cast<double>(model.vocab_size);
      batch.inputs[at] = static_cast<int32_t>(random.uniform(global) * vocabulary);
      batch.labels[at] = static_cast<int32_t>(random.uniform(global + 1) * vocabulary);
    }
  }
}

double element(const Tensor& tensor, int64_t index) {
  return tensor.dtype() == DType::fp64 ? tensor.data<double>()[index]
                                       : static_cast<double>(tensor.data<float>()[index]);
}

void add_whole(const Stream& stream, const OwnedPiece& piece, const Tensor& tensor, std::vector<double>& whole) {
  const Tensor values = to_host(stream, tensor);
  whole.resize(static_cast<size_t>(piece.parameter->global_shape.elements()), std::nan(""));
  for (int64_t i = 0; i < piece.count; ++i)
    whole[static_cast<size_t>(global_index(*piece.parameter, piece.begin + i))] = element(values, i);
}

void add_weights(const Engine& engine, LayoutOutcome& outcome) {
  for (const OwnedPiece& piece : engine.pieces())
    add_whole(engine.stream(), piece, piece.master, outcome.weights[piece.parameter->name]);
}

// ‖a − b‖ / ‖a‖
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double apart = 0, length = 0;
  for (size_t i = 0; i < a.size(); ++i) apart += (a[i] - b[i]) * (a[i] - b[i]), length += a[i] * a[i];
  return std::sqrt(apart / length);
}

std::string compare(const std::string& what, const std::vector<double>& a, const std::vector<double>& b,
                    const std::function<bool(double, double)>& same) {
  if (a.size() != b.size()) return fmt::format("{}: {} values and {}\n", what, a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i])) return fmt::format("{}[{}]: {:.17g} and {:.17g}\n", what, i, a[i], b[i]);
  return {};
}

}  // namespace

std::string LayoutRun::to_string() const {
  return fmt::format(
      "{} layers {} heads {}/{} vocab {} {} | {} recompute {} | {}×{} of {} | {} {} v{} stages [{}]{} zero{} {} shards "
      "{}",
      trident::to_string(model.architecture), model.num_hidden_layers, model.num_attention_heads,
      model.num_key_value_heads, model.vocab_size, model.tie_word_embeddings ? "tied" : "untied",
      trident::to_string(compute), static_cast<int>(recompute), micro_batch_size, sequence_length, global_batch_size,
      layout.mesh.to_string(), layout.schedule.name, layout.schedule.virtual_stages,
      fmt::join(options().layout.layers_per_stage, "+"), layout.sequence_parallel ? " sequence" : "",
      static_cast<int>(layout.zero_stage), layout.reduction == ReductionKind::exact ? "exact" : "fast",
      layout.logical_shards);
}

EngineOptions LayoutRun::options() const {
  EngineOptions options{compute, recompute, micro_batch_size, sequence_length, layout, linear};
  options.layout.microbatches = (global_batch_size + micro_batch_size - 1) / micro_batch_size;
  options.layout.schedule.ranks = layout.mesh.pp;
  const auto stages = static_cast<int32_t>(layout.mesh.pp * stages_per_rank(options.layout.schedule));
  if (stages > 1 && layout.layers_per_stage.empty())
    options.layout.layers_per_stage = cut_by_cost(model, sequence_length, stages);
  return options;
}

ModelConfig layouts_model(Family family, int64_t layers) {
  return sized_model(family, {.width = {24, 48},
                              .layers = layers,
                              .heads = {4, family == Family::llama_gqa ? 2 : 4},
                              .vocabulary = 19,
                              .positions = 8,
                              .deviation = 0.15});
}

JobLayout layout_of(MeshShape mesh, const std::string& schedule, int64_t virtual_stages) {
  JobLayout layout;
  layout.mesh = mesh;
  layout.schedule.name = schedule;
  layout.schedule.virtual_stages = virtual_stages;
  layout.logical_shards = mesh.dp;
  return layout;
}

LayoutRun run_of(Family family, JobLayout layout, int64_t batch, int64_t micro) {
  LayoutRun run;
  run.model = layouts_model(family);
  run.layout = std::move(layout);
  run.global_batch_size = batch;
  run.micro_batch_size = micro;
  return run;
}

void train_rank(const LayoutRun& run, const Communicator& world, LayoutOutcome& outcome, std::mutex& mutex,
                const RunHooks& hooks) {
  const EngineOptions options = run.options();
  const Stream stream = run.device == DeviceKind::cuda ? Stream::cuda(0) : Stream::cpu(1);
  Communicator on_device = world;
  on_device.set_stream(stream);
  const DeviceMesh mesh(on_device, options.layout.mesh, options.layout.order);
  const DryRun plan = dry_run(run.model, options, world.rank(), Stream::meta());
  Engine engine(run.model, options, mesh, plan, stream);
  engine.model().storage().initialize(11, stream);
  engine.start_optimizer({0.9, 0.95, 1e-8, 0.1});

  const BatchShare share = engine.share();
  const int64_t first = share.first_microbatch * run.micro_batch_size;
  const int64_t samples = std::min(run.global_batch_size - first, share.microbatches * run.micro_batch_size);
  const int64_t labels = run.global_batch_size * run.sequence_length;
  Microbatches microbatches(run.micro_batch_size, run.sequence_length);
  std::vector<double> losses, norms;
  for (int step = hooks.start ? hooks.start(engine) : 0; step < run.steps; ++step) {
    microbatches.load(share.microbatches, samples, [&](TokenBatch& batch, int64_t offset, int64_t count) {
      fill_samples(batch, run.model, run.sequence_length, step * run.global_batch_size + first + offset, count);
    });
    losses.push_back(engine.forward_backward(microbatches.views(stream, labels)) / static_cast<double>(labels));
    norms.push_back(engine.gradient_norm());
    if (hooks.computed) hooks.computed(engine, step + 1);
    engine.step(step + 1, 1e-3, clip_scale(norms.back(), run.clip_grad_norm));
    if (hooks.stepped) hooks.stepped(engine, step + 1);
  }
  const int64_t count = RankModel::evaluation_microbatches(options.layout);
  const int64_t evaluated = mesh.coordinates().dp == 0 ? run.micro_batch_size : 0;
  microbatches.load(count, evaluated, [&](TokenBatch& batch, int64_t offset, int64_t rows) {
    fill_samples(batch, run.model, run.sequence_length, 1000000 + offset, rows);
  });
  const double validation = engine.sum_over_ranks(engine.forward(microbatches.views(stream, 0)));
  engine.wait_parameters();
  if (hooks.end) hooks.end(engine);

  const std::lock_guard lock(mutex);
  add_weights(engine, outcome);
  if (outcome.losses.empty()) {
    outcome.losses = losses;
    outcome.norms = norms;
    outcome.validation = validation;
  }
  TRIDENT_CHECK(outcome.losses == losses && outcome.norms == norms, "ranks disagree on loss or norm");
}

LayoutOutcome train(const LayoutRun& run, const RunHooks& hooks) {
  LayoutOutcome outcome;
  std::mutex mutex;
  run_ranks(static_cast<int>(run.layout.mesh.ranks()),
            [&](const Communicator& world) { train_rank(run, world, outcome, mutex, hooks); },
            {.comm = {}, .ranks_per_node = run.ranks_per_node});
  return outcome;
}

void add_state(const Engine& engine, WholeState& state) {
  for (const OwnedPiece& piece : engine.pieces()) {
    const std::string& name = piece.parameter->name;
    add_whole(engine.stream(), piece, piece.master, state[name]);
    add_whole(engine.stream(), piece, piece.exp_avg, state[name + " exp_avg"]);
    add_whole(engine.stream(), piece, piece.exp_avg_sq, state[name + " exp_avg_sq"]);
  }
}

std::string difference(const WholeState& a, const WholeState& b) {
  if (a.size() != b.size()) return fmt::format("{} tensors and {}\n", a.size(), b.size());
  for (const auto& [name, whole] : a) {
    const auto other = b.find(name);
    if (other == b.end()) return name + " is missing\n";
    const auto same = [](double x, double y) { return std::memcmp(&x, &y, sizeof x) == 0; };
    if (std::string found = compare(name, whole, other->second, same); !found.empty()) return found;
  }
  return {};
}

LayoutRun serial(const LayoutRun& run) {
  LayoutRun one = run;
  one.layout = {};
  return one;
}

std::string difference(const LayoutOutcome& a, const LayoutOutcome& b, double tolerance) {
  const auto close = [&](double x, double y) { return std::abs(x - y) <= tolerance * std::abs(x); };
  std::string text = compare("loss", a.losses, b.losses, close) + compare("norm", a.norms, b.norms, close) +
                     compare("validation loss", {a.validation}, {b.validation}, close);
  for (const auto& [name, whole] : a.weights) {
    // A bias of all keys changes no softmax: its gradient is rounding noise, which AdamW turns into steps.
    if (name.ends_with("attention.key.bias")) continue;
    const auto other = b.weights.find(name);
    const double apart = other == b.weights.end() ? HUGE_VAL : distance(whole, other->second);
    if (!(apart <= tolerance)) text += fmt::format("{}: {:.3g} apart\n", name, apart);
  }
  return text;
}

std::string difference(const LayoutOutcome& a, const LayoutOutcome& b) {
  const auto same = [](double x, double y) { return std::memcmp(&x, &y, sizeof x) == 0; };
  std::string text = compare("loss", a.losses, b.losses, same) + compare("norm", a.norms, b.norms, same) +
                     compare("validation loss", {a.validation}, {b.validation}, same);
  for (const auto& [name, whole] : a.weights) {
    const auto other = b.weights.find(name);
    text += other == b.weights.end() ? name + " is missing\n" : compare(name, whole, other->second, same);
  }
  return text;
}

}  // namespace trident::testing
