#pragma once

#include <vector>

#include "core/philox.h"
#include "model/model.h"
#include "tests/model/sized_model.h"

namespace trident::testing {

/// A model small enough for finite differences, with sizes that divide nothing.
inline ModelConfig tiny_config(Family family) {
  const bool grouped = family == Family::llama_gqa;
  return sized_model(family, {.width = {12, 20},
                              .layers = 2,
                              .heads = {grouped ? 4 : 3, grouped ? 2 : 3, grouped ? 6 : 4},
                              .vocabulary = 17,
                              .positions = 11,
                              .deviation = 0.2});
}

/// Random tokens and labels, two of the labels masked.
struct TokenData {
  std::vector<int32_t> tokens, labels;
  Microbatch microbatch;

  TokenData(int64_t batch, int64_t sequence, int64_t vocabulary, uint64_t seed = 1) {
    const RandomStream random(seed, "tokens");
    const auto count = static_cast<uint64_t>(batch * sequence);
    for (uint64_t i = 0; i < count; ++i) {
      tokens.push_back(static_cast<int32_t>(random.uniform(2 * i) * static_cast<double>(vocabulary)));
      labels.push_back(static_cast<int32_t>(random.uniform(2 * i + 1) * static_cast<double>(vocabulary)));
    }
    labels.front() = labels[count / 2] = -1;
    microbatch.tokens = Tensor::borrow(tokens.data(), {batch, sequence}, DType::int32);
    microbatch.labels = Tensor::borrow(labels.data(), {batch, sequence}, DType::int32);
    microbatch.loss_weight = 1.0 / static_cast<double>(count - 2);
  }
};

/// Adds the embedding's part to a tied table's gradient, as Model::forward_backward does by itself.
inline void complete_table(const Model& model, const Stream& stream) {
  if (!model.has_both_ends()) return;
  Tensor table = model.groups().at(*model.tied_group())->grad;
  model.complete_table_gradient(stream, table);
}

/// Mean loss; gradients are added to the model's.
inline double run(const Model& model, const Stream& stream, const Microbatch& microbatch) {
  HeapAllocator heap;
  Context context{stream, heap, &microbatch};
  model.forward_backward(context);
  return context.loss() * microbatch.loss_weight;
}

inline double run_forward(const Model& model, const Stream& stream, const Microbatch& microbatch) {
  HeapAllocator heap;
  Context context{stream, heap, &microbatch};
  model.forward(context);
  return context.loss() * microbatch.loss_weight;
}

}  // namespace trident::testing
