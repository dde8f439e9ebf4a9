#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/philox.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "tests/model/sized_model.h"
#include "train/clip_scale.h"
#include "train/engine.h"
#include "train/microbatches.h"

namespace trident::testing {

/// A small training and how it lies on ranks.
struct LayoutRun {
  ModelConfig model;
  DeviceKind device = DeviceKind::cpu;  ///< cuda: all ranks on the first GPU
  DType compute = DType::fp64;
  LinearPrecision linear = LinearPrecision::compute;
  Recompute recompute = Recompute::none;
  int64_t global_batch_size = 4;
  int64_t micro_batch_size = 1;
  int64_t sequence_length = 6;
  int steps = 5;
  double clip_grad_norm = 0.5;
  int ranks_per_node = 0;  ///< 0: all ranks on one
  JobLayout layout;        ///< microbatches and layers_per_stage follow from the rest

  /// What a person needs to run it again.
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] EngineOptions options() const;
};

/// Four layers of width 24; its vocabulary divides by nothing.
[[nodiscard]] ModelConfig layouts_model(Family family, int64_t layers = 4);
/// With a logical shard for every dp rank.
[[nodiscard]] JobLayout layout_of(MeshShape mesh, const std::string& schedule = "1f1b", int64_t virtual_stages = 0);
/// Of layouts_model.
[[nodiscard]] LayoutRun run_of(Family family, JobLayout layout, int64_t batch = 8, int64_t micro = 1);

/// What must not depend on the layout. Tensors are whole, in fp64.
struct LayoutOutcome {
  std::vector<double> losses, norms;
  std::map<std::string, std::vector<double>> weights;
  double validation = 0;
};

/// What a test does in the middle of a rank's training; each may be empty.
struct RunHooks {
  std::function<int(Engine&)> start{};           ///< the optimizer has started; returns the steps that are done already
  std::function<void(Engine&, int)> computed{};  ///< before the optimizer's step number …
  std::function<void(Engine&, int)> stepped{};   ///< after it; steps are counted from 1
  std::function<void(const Engine&)> end{};
};

/// The rank's part of the training; every rank adds what it holds of the weights to `outcome`.
void train_rank(const LayoutRun& run, const Communicator& world, LayoutOutcome& outcome, std::mutex& mutex,
                const RunHooks& hooks = {});
/// With ranks as threads. The hooks run on all of them.
[[nodiscard]] LayoutOutcome train(const LayoutRun& run, const RunHooks& hooks = {});

/// Whole weights and moments by "name", "name exp_avg", "name exp_avg_sq".
using WholeState = std::map<std::string, std::vector<double>>;
/// Adds what a rank holds.
void add_state(const Engine& engine, WholeState& state);
/// Empty, or the first element that is not the same bit for bit.
[[nodiscard]] std::string difference(const WholeState& a, const WholeState& b);

/// The same job on one rank.
[[nodiscard]] LayoutRun serial(const LayoutRun& run);

/// Empty, or what differs by more than `tolerance`: losses and norms relative to their value, every tensor's weights by
/// the norm of the difference over theirs.
[[nodiscard]] std::string difference(const LayoutOutcome& a, const LayoutOutcome& b, double tolerance);
/// Empty, or what is not the same bit for bit.
[[nodiscard]] std::string difference(const LayoutOutcome& a, const LayoutOutcome& b);

}  // namespace trident::testing
