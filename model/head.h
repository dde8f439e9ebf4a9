#pragma once

#include "model/norm.h"
#include "parallel/tensor/embedding.h"

namespace trident {

/// Final norm, product with the vocabulary (cut over tp) and cross-entropy against the microbatch's labels. The last
/// layer of a model: forward gives the context's loss_sum and returns an undefined tensor; backward_input starts the
/// backward pass and ignores its dy. The logits exist once, each rank's columns; their gradient overwrites them.
class Head final : public Layer {
 public:
  /// `weight` empty: the head is tied to `embedding`'s table. Embedding and tp outlive the head.
  Head(Norm norm, ParameterGroup weight, const VocabularyParallelEmbedding* embedding, const TensorParallel& tp);

  /// The weight's local shard, whether its own or the embedding's.
  [[nodiscard]] const ParameterGroup& weight() const { return weight_.members.empty() ? embedding_->table() : weight_; }

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// This rank's columns of the logits [rows, vocabulary], without a loss, for generation.
  [[nodiscard]] Tensor logits(Context& context, const Tensor& x) const;

 private:
  [[nodiscard]] Tensor product(Context& context, const Tensor& normed) const;

  Norm norm_;
  ParameterGroup weight_;
  const VocabularyParallelEmbedding* embedding_;
  const TensorParallel* tp_;
};

}  // namespace trident
