#pragma once

#include <optional>

#include "model/embedding.h"
#include "model/linear.h"
#include "model/norm.h"

namespace trident {

/// Final norm, product with the vocabulary and cross-entropy against the microbatch's labels. The last layer of a
/// model: forward adds to the context's loss_sum and returns an undefined tensor; backward_input starts the backward
/// pass and ignores its dy. The logits exist once; their gradient overwrites them.
class Head final : public Layer {
 public:
  /// `weight` empty: the head is tied to `embedding`'s table, which must then outlive it.
  Head(Norm norm, ParameterGroup weight, const Embedding& embedding);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// Logits [.., vocabulary] without a loss, for generation.
  [[nodiscard]] Tensor logits(Context& context, const Tensor& x) const;

 private:
  [[nodiscard]] const ParameterGroup& weight() const { return weight_.members.empty() ? embedding_->table() : weight_; }
  [[nodiscard]] Tensor product(Context& context, const Tensor& normed) const;

  Norm norm_;
  ParameterGroup weight_;
  const Embedding* embedding_;
};

}  // namespace trident
