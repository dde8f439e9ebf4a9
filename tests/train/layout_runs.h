#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/philox.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "train/clip_scale.h"
#include "train/engine.h"
#include "train/microbatches.h"

namespace trident::testing {

/// A small training and how it lies on ranks.
struct LayoutRun {
  ModelConfig model;
  DType compute = DType::fp64;
  Recompute recompute = Recompute::none;
  int64_t global_batch_size = 4;
  int64_t micro_batch_size = 1;
  int64_t sequence_length = 6;
  int steps = 5;
  double clip_grad_norm = 0.5;
  JobLayout layout;  ///< microbatches and layers_per_stage follow from the rest

  /// What a person needs to run it again.
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] EngineOptions options() const;
};

/// What must not depend on the layout. Tensors are whole, in fp64.
struct LayoutOutcome {
  std::vector<double> losses, norms;
  std::map<std::string, std::vector<double>> weights;
  double validation = 0;
};

/// The rank's part of the training; every rank adds what it holds of the weights to `outcome`. `look` sees the engine
/// at the end.
void train_rank(const LayoutRun& run, const Communicator& world, LayoutOutcome& outcome, std::mutex& mutex,
                const std::function<void(const Engine&)>& look = {});
/// With ranks as threads.
[[nodiscard]] LayoutOutcome train(const LayoutRun& run);
/// The same job on one rank.
[[nodiscard]] LayoutRun serial(const LayoutRun& run);

/// Empty, or what differs by more than `tolerance`: losses and norms relative to their value, every tensor's weights by
/// the norm of the difference over theirs.
[[nodiscard]] std::string difference(const LayoutOutcome& a, const LayoutOutcome& b, double tolerance);
/// Empty, or what is not the same bit for bit.
[[nodiscard]] std::string difference(const LayoutOutcome& a, const LayoutOutcome& b);

}  // namespace trident::testing
