#include "model/head.h"

#include "kernels/cross_entropy.h"
#include "kernels/linear.h"
#include "parallel/tensor/cross_entropy.h"

namespace trident {
namespace {

// Tensors of the head's Saved after forward; after backward_input kLogits holds their gradient.
enum Kept : size_t { kNormed, kLogits, kLse };

}  // namespace

Head::Head(Norm norm, ParameterGroup weight, const VocabularyParallelEmbedding* embedding, const TensorParallel& tp)
    : norm_(std::move(norm)), weight_(std::move(weight)), embedding_(embedding), tp_(&tp) {}

Tensor Head::product(Context& context, const Tensor& normed) const {
  Tensor logits = context.activations.allocate({normed.rows(), weight().value.dim(0)}, normed.dtype());
  linear_forward(context.stream, normed, weight().value, Tensor(), logits);
  return logits;
}

Tensor Head::forward(Context& context, const Tensor& x, Saved& saved) const {
  saved.children.resize(1);
  const Tensor normed = tp_->gather_rows(context, norm_.forward(context, x, saved.children[0]));
  const Tensor logits = product(context, normed);
  const Parameter& table = weight().members.front();
  const TokenLosses result =
      vocabulary_parallel_losses(context, *tp_, logits, context.microbatch->labels.reshape({logits.rows()}),
                                 table.shard_begin, table.global_shape[0]);
  if (!context.loss_sum.defined()) context.loss_sum = context.activations.allocate({1}, DType::fp64);
  sum_losses(context.stream, result.losses, context.loss_sum);
  saved.tensors = {normed, logits, result.lse};
  return {};
}

Tensor Head::backward_input(Context& context, const Tensor&, Saved& saved) const {
  Tensor& logits = saved.tensors.at(kLogits);
  const Tensor& normed = saved.tensors.at(kNormed);
  cross_entropy_backward(context.stream, context.microbatch->labels.reshape({logits.rows()}),
                         weight().members.front().shard_begin, saved.tensors.at(kLse), context.microbatch->loss_weight,
                         logits);
  saved.tensors.at(kLse).reset();
  Tensor dnormed = context.activations.allocate(normed.shape(), normed.dtype());
  linear_backward_input(context.stream, logits, weight().value, dnormed);
  return norm_.backward_input(context, tp_->reduce_rows(context, dnormed), saved.children.at(0));
}

void Head::backward_weight(Context& context, Saved& saved) const {
  Tensor dw = weight().grad, no_bias;
  linear_backward_weight(context.stream, saved.tensors.at(kLogits), saved.tensors.at(kNormed), dw, no_bias);
  norm_.backward_weight(context, saved.children.at(0));
  saved.clear();
}

Tensor Head::logits(Context& context, const Tensor& x) const {
  Saved discarded;
  return product(context, norm_.forward(context, x, discarded));
}

void Head::collect(std::vector<ParameterGroup*>& groups) {
  norm_.collect(groups);
  if (!weight_.members.empty()) groups.push_back(&weight_);
}

}  // namespace trident
