#include "train/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "train/microbatches.h"

namespace trident {

double Evaluation::perplexity() const { return std::exp(loss); }

Evaluation evaluate(Engine& engine, const ValidationData& data, int64_t windows, int64_t micro_batch_size) {
  const auto begin = std::chrono::steady_clock::now();
  Microbatches microbatches(micro_batch_size, data.sequence_length());
  Evaluation result;
  double loss_sum = 0.0;
  for (int64_t first = 0; first < windows; first += micro_batch_size) {
    const int64_t count = std::min(micro_batch_size, windows - first);
    microbatches.load(count,
                      [&](TokenBatch& batch, int64_t offset, int64_t rows) { data.fill(batch, first + offset, rows); });
    loss_sum += engine.forward(microbatches[0]);
    result.labels += microbatches.labels();
  }
  result.loss = result.labels > 0 ? loss_sum / static_cast<double>(result.labels) : std::nan("");
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace trident
