#pragma once

#include <filesystem>

#include "core/parameter.h"
#include "model/model_config.h"
#include "train/model_weights.h"
#include "train/weight_gatherer.h"

namespace trident {

/// Fills `whole`, the storage of a whole model on rank 0 and null elsewhere, with the weights that all ranks hold; one
/// that has released its master weights gets compute weights alone. Collective over the gatherer's ranks.
void gather_weights(WeightGatherer& gatherer, ParameterStorage* whole, const Stream& stream);

/// Fills the storage, of a whole model or of a rank's part. Reads no rows but those of the part.
void load_weights(const ModelWeights& weights, ParameterStorage& storage, const Stream& stream);

/// Throws Error(config) naming every key in which the models differ, with both values.
void require_same_model(const ModelConfig& found, const ModelConfig& wanted, const std::filesystem::path& source);

}  // namespace trident
