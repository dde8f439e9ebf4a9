#include "train/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "train/microbatches.h"

namespace trident {

double Evaluation::perplexity() const { return std::exp(loss); }

Evaluation evaluate(Engine& engine, const ValidationData& data, int64_t windows) {
  const auto begin = std::chrono::steady_clock::now();
  const EngineOptions& options = engine.options();
  const Communicator& dp = engine.mesh().axis(Axis::dp);
  Microbatches microbatches(options.micro_batch_size, data.sequence_length());
  const int64_t count = RankModel::evaluation_microbatches(options.layout), share = count * options.micro_batch_size;
  Evaluation result;
  ExactSum loss_sum;
  for (int64_t first = dp.rank() * share; first < windows + dp.rank() * share; first += dp.size() * share) {
    microbatches.load(count, std::clamp<int64_t>(windows - first, 0, share),
                      [&](TokenBatch& batch, int64_t offset, int64_t rows) { data.fill(batch, first + offset, rows); });
    loss_sum.add(engine.forward(microbatches.views(engine.stream(), 0)));
    result.labels += microbatches.labels();
  }
  dp.all_reduce(std::span(&result.labels, 1));
  const double sum = engine.sum_over_ranks(loss_sum);
  result.loss = result.labels > 0 ? sum / static_cast<double>(result.labels) : std::nan("");
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace trident
