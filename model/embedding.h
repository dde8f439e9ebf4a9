#pragma once

#include "core/layer.h"

namespace trident {

/// Token embedding, plus learned positions for GPT-2. Input: tokens [batch, sequence] int32; output: [.., hidden].
/// The first layer of a model: its backward_input returns an undefined tensor.
class Embedding final : public Layer {
 public:
  Embedding(ParameterGroup table, ParameterGroup positions);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& tokens, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// Tokens at positions first_position … of a generation.
  [[nodiscard]] Tensor forward_at(Context& context, const Tensor& tokens, int64_t first_position) const;

  /// The table, which a tied head multiplies with.
  [[nodiscard]] const ParameterGroup& table() const { return table_; }

 private:
  ParameterGroup table_;
  ParameterGroup positions_;
};

}  // namespace trident
