#pragma once

#include "core/layer.h"
#include "kernels/embedding.h"
#include "parallel/tensor/tensor_parallel.h"
#include "parallel/tensor/touched_rows.h"

namespace trident {

/// Token embedding, plus learned positions for GPT-2, with the vocabulary cut over tp: this rank has some rows of the
/// table. Input: tokens [batch, sequence] int32; output: this rank's rows [rows, hidden]. Forward sums over the ranks,
/// backward gathers dy's rows. The first layer of a model: its backward_input returns an undefined tensor.
class VocabularyParallelEmbedding final : public Layer {
 public:
  VocabularyParallelEmbedding(ParameterGroup table, ParameterGroup positions, const TensorParallel& tp);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& tokens, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// Tokens at positions first_position … of a generation.
  [[nodiscard]] Tensor forward_at(Context& context, const Tensor& tokens, int64_t first_position) const;

  /// Keeps the table's gradient apart from table().grad, where a tied head on the same rank adds its own.
  void separate_gradient(Device device);
  /// table += the gradient kept apart, which is then zero. After the last microbatch of a sum.
  void complete_gradient(const Stream& stream, Tensor& table) const;

  /// Where it is kept; undefined where it is not apart.
  [[nodiscard]] Tensor separate_gradient_rows() const { return touched_ ? touched_->values() : Tensor(); }

  /// The table's local rows, which a tied head multiplies with.
  [[nodiscard]] const ParameterGroup& table() const { return table_; }

 private:
  [[nodiscard]] TableShard shard() const;

  ParameterGroup table_;
  ParameterGroup positions_;
  const TensorParallel* tp_;
  std::unique_ptr<TouchedRows> touched_;  // null: table_.grad is the embedding's own
};

}  // namespace trident
