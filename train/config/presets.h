#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/model_config.h"

namespace trident::config {

/// The sizes that a model's makers published, by the name in `model.preset`. A size that follows from others (head_dim,
/// key-value heads without grouping, GPT-2's feed-forward width) is 0, so that it follows an override of those too.
std::optional<ModelConfig> find_preset(std::string_view name);

std::vector<std::string> preset_names();

}  // namespace trident::config
