#include "model/attention.h"

#include "kernels/rope.h"

namespace trident {
namespace {

// Columns from `column` on of qkv's rows become rows first_position … of the cache.
void store_in_cache(const Stream& stream, const Tensor& qkv, int64_t column, int64_t first_position, Tensor& cache) {
  const int64_t width = cache.columns();
  copy_columns(stream, qkv, column, cache.flat_view(first_position * width, {qkv.rows(), width}));
}

}  // namespace

Attention::Attention(const LocalHeads& heads, const Tensor* rope, ColumnParallelLinear qkv, RowParallelLinear output)
    : heads_(heads), rope_(rope), qkv_(std::move(qkv)), output_(std::move(output)) {}

AttentionShape Attention::shape(int64_t batch, int64_t sequence) const {
  return {batch, sequence, heads_.heads, heads_.kv_heads, heads_.head_dim};
}

AttentionShape Attention::shape_of(const Context& context) const {
  return shape(context.microbatch->tokens.dim(0), context.microbatch->tokens.dim(1));
}

Tensor Attention::forward(Context& context, const Tensor& x, Saved& saved) const {
  const AttentionShape shape = shape_of(context);
  saved.children.resize(2);
  Tensor qkv = qkv_.forward(context, x, saved.children[0]);
  if (rope_->defined()) rope(context.stream, shape, *rope_, 0, RopeDirection::forward, qkv);
  Tensor out = context.activations.allocate({qkv.rows(), shape.heads * shape.head_dim}, x.dtype());
  Tensor lse = context.activations.allocate({shape.batch, shape.heads, shape.sequence}, accumulation_dtype(x.dtype()));
  attention_forward(context.stream, shape, qkv, out, lse);
  saved.tensors = {qkv, out, lse};
  return output_.forward(context, out, saved.children[1]);
}

Tensor Attention::core_backward(Context& context, const Tensor& dout, Saved& saved) const {
  const AttentionShape shape = shape_of(context);
  Tensor dqkv = context.activations.allocate({dout.rows(), shape.qkv_columns()}, dout.dtype());
  attention_backward(context.stream, shape, saved.tensors.at(0), saved.tensors.at(1), saved.tensors.at(2), dout, dqkv);
  saved.tensors.clear();
  if (rope_->defined()) rope(context.stream, shape, *rope_, 0, RopeDirection::backward, dqkv);
  return dqkv;
}

Tensor Attention::backward_input(Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor dqkv = core_backward(context, output_.backward_input(context, dy, saved.children.at(1)), saved);
  return qkv_.backward_input(context, dqkv, saved.children.at(0));
}

void Attention::backward_weight(Context& context, Saved& saved) const {
  output_.backward_weight(context, saved.children.at(1));
  qkv_.backward_weight(context, saved.children.at(0));
  saved.clear();
}

Tensor Attention::backward(Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor dqkv = core_backward(context, output_.backward(context, dy, saved.children.at(1)), saved);
  return qkv_.backward(context, dqkv, saved.children.at(0));
}

Tensor Attention::forward_cached(Context& context, const Tensor& x, int64_t first_position,
                                 KeyValueCache& cache) const {
  Saved discarded;
  Tensor qkv = qkv_.forward(context, x, discarded);
  const AttentionShape shape = this->shape(1, qkv.rows());
  if (rope_->defined()) rope(context.stream, shape, *rope_, first_position, RopeDirection::forward, qkv);
  const int64_t queries = shape.heads * shape.head_dim;
  store_in_cache(context.stream, qkv, queries, first_position, cache.keys);
  store_in_cache(context.stream, qkv, queries + shape.kv_heads * shape.head_dim, first_position, cache.values);
  Tensor out = context.activations.allocate({qkv.rows(), queries}, x.dtype());
  attention_cached(context.stream, shape, first_position, qkv, cache.keys, cache.values, out);
  return output_.forward(context, out, discarded);
}

void Attention::collect(std::vector<ParameterGroup*>& groups) {
  qkv_.collect(groups);
  output_.collect(groups);
}

}  // namespace trident
