#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/build.h"

namespace trident {

/// Consecutive layers of a model: 0 is the embedding, 1 … num_hidden_layers are the blocks, one more is the head.
struct LayerRange {
  int64_t begin = 0;
  int64_t end = 0;
};

/// What a rank has of a model, by default all of it, and how its blocks multiply.
struct ModelPart {
  TensorParallel tp;
  std::vector<LayerRange> ranges;  ///< the layers, one range a pipeline stage, ascending; none: all of them
  FlatAllocator allocate;          ///< memory of weights and gradients; empty: this process's own
  LinearPrecision linear = LinearPrecision::compute;
};

/// A Llama or GPT-2, or a rank's part of one, with its weights and gradients. Parameters are named in
/// docs/architecture.md, "Parameter names".
class Model {
 public:
  /// Builds the layers and allocates their storage; weights are undefined until initialised or loaded.
  /// On the meta device nothing is allocated. Throws Error(ErrorCode::config) for sizes that do not fit together.
  Model(const ModelConfig& config, DType compute, Recompute recompute, const Stream& stream, ModelPart part = {});

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] ParameterStorage& storage() { return *storage_; }
  [[nodiscard]] const ParameterStorage& storage() const { return *storage_; }

  /// This rank's layers, first to last.
  [[nodiscard]] std::span<const Layer* const> layers() const { return layers_; }
  /// Those of range `index`.
  [[nodiscard]] std::vector<const Layer*> layers(size_t index) const;
  [[nodiscard]] const TensorParallel& tensor_parallel() const { return *tp_; }
  /// Parameter groups in the order of storage. A tied table's copy comes first, as the table itself does on its rank:
  /// gradients are reduced from the last to the first, and a tied one is whole last of all.
  [[nodiscard]] const std::vector<ParameterGroup*>& groups() const { return groups_; }
  /// Numbers of the groups that layer `index` of layers() uses alone; a tied table belongs to none.
  [[nodiscard]] std::vector<size_t> groups_of(size_t index) const;
  /// The number of the tied table's group, on the rank of the embedding or of the head.
  [[nodiscard]] std::optional<size_t> tied_group() const;
  /// This rank has the embedding and a head that is tied to it.
  [[nodiscard]] bool has_both_ends() const { return embedding_ && head_ && config_.tie_word_embeddings; }
  /// With both ends here: adds the embedding's part to `table`, where so far the head's is (the table's gradient, or
  /// where it was moved to). After the last microbatch of a sum. Otherwise nothing.
  void complete_table_gradient(const Stream& stream, Tensor& table) const;
  /// Where that part is; undefined without both ends.
  [[nodiscard]] Tensor embedding_gradient_rows() const {
    return embedding_ ? embedding_->separate_gradient_rows() : Tensor();
  }

  /// One microbatch forward and backward through a whole model: adds to the gradients and gives the context's loss_sum.
  void forward_backward(Context& context) const;
  /// One microbatch forward only; each layer's activations go before the next begins.
  void forward(Context& context) const;

  /// Fresh key-value caches for one sequence of up to `capacity` positions, one a layer.
  [[nodiscard]] std::vector<KeyValueCache> make_caches(int64_t capacity) const;
  /// Takes tokens [1, n] at positions first_position … into the caches; the logits [1, vocabulary] after the last one.
  /// A whole model only (tp of one rank).
  [[nodiscard]] Tensor forward_cached(Context& context, const Tensor& tokens, int64_t first_position,
                                      std::vector<KeyValueCache>& caches) const;

 private:
  void add_layer(int64_t layer, const BlockOptions& options);
  [[nodiscard]] const ParameterGroup* tied_table() const;

  ModelConfig config_;
  std::vector<LayerRange> ranges_;
  // Behind pointers: layers keep their addresses.
  std::unique_ptr<TensorParallel> tp_;
  std::unique_ptr<Tensor> rope_;
  std::unique_ptr<VocabularyParallelEmbedding> embedding_;
  std::vector<std::unique_ptr<TransformerBlock>> blocks_;
  std::unique_ptr<Head> head_;
  std::vector<const Layer*> layers_;  // all of the above, first to last
  std::vector<ParameterGroup*> groups_;
  std::vector<std::vector<const ParameterGroup*>> groups_of_layer_;
  std::unique_ptr<ParameterStorage> storage_;
};

/// Names, shapes, layouts and initial values of every parameter of `config`, without building the model.
[[nodiscard]] std::vector<Parameter> describe_parameters(const ModelConfig& config);

}  // namespace trident
