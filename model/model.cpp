#include "model/model.h"

#include <algorithm>

#include "kernels/rope.h"

namespace trident {

Model::Model(const ModelConfig& config, DType compute, Recompute recompute, const Stream& stream, ModelPart part)
    : config_(config),
      ranges_(std::move(part.ranges)),
      tp_(std::make_unique<TensorParallel>(std::move(part.tp))),
      rope_(std::make_unique<Tensor>()) {
  validate(config_);
  validate_tensor_parallel(config_, tp_->comm.size());
  if (ranges_.empty()) ranges_ = {{0, config_.num_hidden_layers + 2}};
  if (config_.architecture == Architecture::llama) {
    *rope_ = HeapAllocator(stream.device())
                 .allocate({config_.max_position_embeddings, config_.head_dim}, accumulation_dtype(compute));
    rope_table(stream, config_.rope_theta, *rope_);
  }
  for (const LayerRange& range : ranges_)
    for (int64_t layer = range.begin; layer < range.end; ++layer) add_layer(layer, {recompute, part.linear});
  if (head_ && !embedding_ && config_.tie_word_embeddings)
    std::rotate(groups_.begin(), groups_.end() - 1, groups_.end());
  storage_ = std::make_unique<ParameterStorage>(groups_, compute, stream.device(), part.allocate);
  if (has_both_ends()) embedding_->separate_gradient(stream.device());
}

void Model::add_layer(int64_t layer, const BlockOptions& options) {
  TRIDENT_CHECK(layer >= 0 && layer < config_.num_hidden_layers + 2);
  Layer* added = nullptr;
  if (layer == 0) {
    embedding_ = std::make_unique<VocabularyParallelEmbedding>(build_embedding(config_, *tp_));
    added = embedding_.get();
  } else if (layer <= config_.num_hidden_layers) {
    blocks_.push_back(std::make_unique<TransformerBlock>(build_block(config_, layer - 1, options, rope_.get(), *tp_)));
    added = blocks_.back().get();
  } else {
    head_ = std::make_unique<Head>(build_head(config_, embedding_.get(), *tp_));
    added = head_.get();
  }
  layers_.push_back(added);
  const auto before = static_cast<std::ptrdiff_t>(groups_.size());
  added->collect(groups_);
  groups_of_layer_.emplace_back(groups_.begin() + before, groups_.end());
}

const ParameterGroup* Model::tied_table() const {
  if (!config_.tie_word_embeddings) return nullptr;
  return embedding_ ? &embedding_->table() : head_ ? &head_->weight() : nullptr;
}

std::vector<size_t> Model::groups_of(size_t index) const {
  std::vector<size_t> numbers;
  for (const ParameterGroup* group : groups_of_layer_.at(index)) {
    if (group == tied_table()) continue;
    numbers.push_back(static_cast<size_t>(std::find(groups_.begin(), groups_.end(), group) - groups_.begin()));
  }
  return numbers;
}

std::optional<size_t> Model::tied_group() const {
  const auto found = std::find(groups_.begin(), groups_.end(), tied_table());
  if (found == groups_.end()) return std::nullopt;
  return static_cast<size_t>(found - groups_.begin());
}

void Model::complete_table_gradient(const Stream& stream, Tensor& table) const {
  if (has_both_ends()) embedding_->complete_gradient(stream, table);
}

std::vector<const Layer*> Model::layers(size_t index) const {
  int64_t first = 0;
  for (size_t i = 0; i < index; ++i) first += ranges_[i].end - ranges_[i].begin;
  const auto begin = layers_.begin() + first;
  return {begin, begin + (ranges_.at(index).end - ranges_.at(index).begin)};
}

void Model::forward_backward(Context& context) const {
  std::vector<Saved> saved(layers_.size());
  Tensor x = context.microbatch->tokens;
  for (size_t i = 0; i < layers_.size(); ++i) x = layers_[i]->forward(context, x, saved[i]);
  Tensor dx;
  for (size_t i = layers_.size(); i-- > 0;) {
    dx = layers_[i]->backward(context, dx, saved[i]);
  }
  if (!has_both_ends()) return;
  Tensor table = embedding_->table().grad;
  complete_table_gradient(context.stream, table);
}

void Model::forward(Context& context) const {
  Tensor x = context.microbatch->tokens;
  for (const Layer* layer : layers_) {
    Saved discarded;
    x = layer->forward(context, x, discarded);
  }
}

std::vector<KeyValueCache> Model::make_caches(int64_t capacity) const {
  HeapAllocator heap(storage_->values().device());
  const Shape shape{1, capacity, config_.num_key_value_heads * config_.head_dim};
  const DType dtype = storage_->compute_dtype();
  std::vector<KeyValueCache> caches;
  for (size_t i = 0; i < blocks_.size(); ++i)
    caches.push_back({heap.allocate(shape, dtype), heap.allocate(shape, dtype)});
  return caches;
}

Tensor Model::forward_cached(Context& context, const Tensor& tokens, int64_t first_position,
                             std::vector<KeyValueCache>& caches) const {
  TRIDENT_CHECK(caches.size() == blocks_.size() && tokens.dim(0) == 1 && tp_->comm.size() == 1);
  TRIDENT_CHECK(embedding_ && head_, "a whole model");
  Tensor x = embedding_->forward_at(context, tokens, first_position);
  for (size_t i = 0; i < blocks_.size(); ++i) x = blocks_[i]->forward_cached(context, x, first_position, caches[i]);
  const int64_t hidden = x.columns();
  return head_->logits(context, x.flat_view((tokens.dim(1) - 1) * hidden, {1, hidden}));
}

std::vector<Parameter> describe_parameters(const ModelConfig& config) {
  const Model model(config, DType::fp32, Recompute::none, Stream::meta());
  std::vector<Parameter> parameters;
  for (const Parameter* parameter : model.storage().parameters()) parameters.push_back(*parameter);
  return parameters;
}

}  // namespace trident
