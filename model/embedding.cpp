#include "model/embedding.h"

#include "kernels/embedding.h"

namespace trident {

Embedding::Embedding(ParameterGroup table, ParameterGroup positions)
    : table_(std::move(table)), positions_(std::move(positions)) {}

Tensor Embedding::forward_at(Context& context, const Tensor& tokens, int64_t first_position) const {
  Tensor y = context.activations.allocate({tokens.dim(0), tokens.dim(1), table_.value.dim(1)}, table_.value.dtype());
  embedding_forward(context.stream, tokens, table_.value, positions_.value, first_position, y);
  return y;
}

Tensor Embedding::forward(Context& context, const Tensor& tokens, Saved& saved) const {
  saved.tensors = {tokens};
  return forward_at(context, tokens, 0);
}

Tensor Embedding::backward_input(Context&, const Tensor& dy, Saved& saved) const {
  saved.tensors.push_back(dy);
  return {};
}

void Embedding::backward_weight(Context& context, Saved& saved) const {
  Tensor dtable = table_.grad, dpositions = positions_.grad;
  embedding_backward(context.stream, saved.tensors.at(0), saved.tensors.at(1), dtable, dpositions);
  saved.clear();
}

void Embedding::collect(std::vector<ParameterGroup*>& groups) {
  groups.push_back(&table_);
  if (!positions_.members.empty()) groups.push_back(&positions_);
}

}  // namespace trident
