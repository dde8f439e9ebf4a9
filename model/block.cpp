#include "model/block.h"

#include "kernels/elementwise.h"

namespace trident {
namespace {

// Children of a block's Saved.
enum Child : size_t { kAttentionNorm, kAttention, kMlpNorm, kMlp, kChildren };

}  // namespace

TransformerBlock::TransformerBlock(Recompute recompute, Norm attention_norm, Attention attention, Norm mlp_norm,
                                   Mlp mlp)
    : recompute_(recompute),
      attention_norm_(std::move(attention_norm)),
      attention_(std::move(attention)),
      mlp_norm_(std::move(mlp_norm)),
      mlp_(std::move(mlp)) {}

Tensor TransformerBlock::forward(Context& context, const Tensor& x, Saved& saved) const {
  if (recompute_ != Recompute::full) return forward_all(context, x, saved);
  Saved discarded;
  Tensor y = forward_all(context, x, discarded);
  saved.tensors = {x};
  return y;
}

Tensor TransformerBlock::forward_all(Context& context, const Tensor& x, Saved& saved) const {
  saved.children.resize(kChildren);
  Tensor sum, normed;
  {
    const Tensor attended = attention_.forward(
        context, attention_norm_.forward(context, x, saved.children[kAttentionNorm]), saved.children[kAttention]);
    normed = mlp_norm_.forward_of_sum(context, x, attended, sum, saved.children[kMlpNorm]);
  }
  Tensor y = mlp_.forward(context, normed, saved.children[kMlp]);
  add(context.stream, y, sum, y);
  if (recompute_ == Recompute::selective) {
    ColumnParallelLinear::drop_input(Attention::qkv_saved(saved.children[kAttention]));
    ColumnParallelLinear::drop_input(Mlp::up_saved(saved.children[kMlp]));
  }
  return y;
}

void TransformerBlock::restore(Context& context, Saved& saved) const {
  if (recompute_ == Recompute::full) {
    const Tensor x = std::move(saved.tensors.at(0));
    saved.clear();
    (void)forward_all(context, x, saved);
  }
  if (recompute_ == Recompute::selective) {
    ColumnParallelLinear::restore_input(Attention::qkv_saved(saved.children[kAttention]),
                                        attention_norm_.recompute(context, saved.children[kAttentionNorm]));
    ColumnParallelLinear::restore_input(Mlp::up_saved(saved.children[kMlp]),
                                        mlp_norm_.recompute(context, saved.children[kMlpNorm]));
  }
}

Tensor TransformerBlock::backward_input(Context& context, const Tensor& dy, Saved& saved) const {
  restore(context, saved);
  Tensor dsum;
  {
    const Tensor dnormed = mlp_.backward_input(context, dy, saved.children.at(kMlp));
    dsum = mlp_norm_.backward_input_with(context, dnormed, dy, saved.children.at(kMlpNorm));
  }
  const Tensor dnormed = attention_.backward_input(context, dsum, saved.children.at(kAttention));
  return attention_norm_.backward_input_with(context, dnormed, dsum, saved.children.at(kAttentionNorm));
}

Tensor TransformerBlock::backward(Context& context, const Tensor& dy, Saved& saved) const {
  restore(context, saved);
  Tensor dsum;
  {
    const Tensor dnormed = mlp_.backward(context, dy, saved.children.at(kMlp));
    dsum = mlp_norm_.backward_input_with(context, dnormed, dy, saved.children.at(kMlpNorm));
  }
  mlp_norm_.backward_weight(context, saved.children.at(kMlpNorm));
  const Tensor dnormed = attention_.backward(context, dsum, saved.children.at(kAttention));
  Tensor dx = attention_norm_.backward_input_with(context, dnormed, dsum, saved.children.at(kAttentionNorm));
  attention_norm_.backward_weight(context, saved.children.at(kAttentionNorm));
  saved.clear();
  return dx;
}

void TransformerBlock::backward_weight(Context& context, Saved& saved) const {
  mlp_.backward_weight(context, saved.children.at(kMlp));
  mlp_norm_.backward_weight(context, saved.children.at(kMlpNorm));
  attention_.backward_weight(context, saved.children.at(kAttention));
  attention_norm_.backward_weight(context, saved.children.at(kAttentionNorm));
  saved.clear();
}

Tensor TransformerBlock::forward_cached(Context& context, const Tensor& x, int64_t first_position,
                                        KeyValueCache& cache) const {
  Saved discarded;
  Tensor sum;
  const Tensor attended =
      attention_.forward_cached(context, attention_norm_.forward(context, x, discarded), first_position, cache);
  const Tensor normed = mlp_norm_.forward_of_sum(context, x, attended, sum, discarded);
  discarded.clear();
  Tensor y = mlp_.forward(context, normed, discarded);
  add(context.stream, y, sum, y);
  return y;
}

void TransformerBlock::collect(std::vector<ParameterGroup*>& groups) {
  attention_norm_.collect(groups);
  attention_.collect(groups);
  mlp_norm_.collect(groups);
  mlp_.collect(groups);
}

}  // namespace trident
