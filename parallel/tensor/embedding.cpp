#include "parallel/tensor/embedding.h"

namespace trident {

VocabularyParallelEmbedding::VocabularyParallelEmbedding(ParameterGroup table, ParameterGroup positions,
                                                         const TensorParallel& tp)
    : table_(std::move(table)), positions_(std::move(positions)), tp_(&tp) {}

TableShard VocabularyParallelEmbedding::shard() const {
  const Parameter& table = table_.members.front();
  return {table.shard_begin, table.global_shape[0]};
}

Tensor VocabularyParallelEmbedding::forward_at(Context& context, const Tensor& tokens, int64_t first_position) const {
  Tensor partial = context.activations.allocate({tokens.elements(), table_.value.dim(1)}, table_.value.dtype());
  // Positions take part in the sum once.
  const Tensor positions = tp_->comm.rank() == 0 ? positions_.value : Tensor();
  embedding_forward(context.stream, tokens, table_.value, positions, first_position, partial, shard());
  return tp_->reduce_rows(context, partial);
}

Tensor VocabularyParallelEmbedding::forward(Context& context, const Tensor& tokens, Saved& saved) const {
  saved.tensors = {tokens};
  return forward_at(context, tokens, 0);
}

Tensor VocabularyParallelEmbedding::backward_input(Context& context, const Tensor& dy, Saved& saved) const {
  saved.tensors.push_back(tp_->gather_rows(context, dy));
  return {};
}

void VocabularyParallelEmbedding::backward_weight(Context& context, Saved& saved) const {
  const Tensor tokens = saved.tensors.at(0), dy = saved.tensors.at(1);
  Tensor dpositions = positions_.grad;
  if (touched_ && touched_->is_dense()) {
    Tensor rows = touched_->values();
    embedding_backward(context.stream, tokens, dy, rows, dpositions, shard());
  } else if (touched_) {
    Tensor rows = touched_->values();
    embedding_backward(context.stream, touched_->slots(tokens, shard()), dy, rows, dpositions,
                       {0, shard().vocabulary + 1});
  } else {
    Tensor dtable = table_.grad;
    embedding_backward(context.stream, tokens, dy, dtable, dpositions, shard());
  }
  saved.clear();
}

void VocabularyParallelEmbedding::separate_gradient(Device device) {
  const Shape shape = table_.members.front().local_shape();
  touched_ = std::make_unique<TouchedRows>(shape[0], shape[1], table_.grad.dtype(), device);
}

void VocabularyParallelEmbedding::complete_gradient(const Stream& stream, Tensor& table) const {
  touched_->move_to(stream, table);
}

void VocabularyParallelEmbedding::collect(std::vector<ParameterGroup*>& groups) {
  groups.push_back(&table_);
  if (!positions_.members.empty()) groups.push_back(&positions_);
}

}  // namespace trident
