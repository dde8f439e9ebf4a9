#pragma once

#include "model/block.h"
#include "model/embedding.h"
#include "model/head.h"
#include "model/model_config.h"

namespace trident {

// From a configuration to layers: the one place that knows parameter names, shapes, layouts and initial values.

[[nodiscard]] Embedding build_embedding(const ModelConfig& config);
[[nodiscard]] TransformerBlock build_block(const ModelConfig& config, int64_t layer, Recompute recompute,
                                           const Tensor* rope);
[[nodiscard]] Head build_head(const ModelConfig& config, const Embedding& embedding);

}  // namespace trident
