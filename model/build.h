#pragma once

#include "model/block.h"
#include "model/head.h"
#include "model/model_config.h"

namespace trident {

// From a configuration to a rank's layers: the one place that knows parameter names, shapes, layouts and initial
// values. `tp` outlives the layers.

/// Throws Error(ErrorCode::config) where the heads or the inner width cannot be cut over so many ranks.
void validate_tensor_parallel(const ModelConfig& config, int64_t tp);

[[nodiscard]] VocabularyParallelEmbedding build_embedding(const ModelConfig& config, const TensorParallel& tp);
/// How blocks compute.
struct BlockOptions {
  Recompute recompute = Recompute::none;
  LinearPrecision linear = LinearPrecision::compute;  ///< of their four products
};

[[nodiscard]] TransformerBlock build_block(const ModelConfig& config, int64_t layer, const BlockOptions& options,
                                           const Tensor* rope, const TensorParallel& tp);
/// `embedding`: the rank's own, null where another pipeline rank has it; a tied head then gets a copy of the table.
[[nodiscard]] Head build_head(const ModelConfig& config, const VocabularyParallelEmbedding* embedding,
                              const TensorParallel& tp);

}  // namespace trident
