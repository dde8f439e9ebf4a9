#pragma once

#include <span>
#include <string>

#include "train/config/yaml_document.h"

namespace trident::config {

/// Lays `dotted.key=value` arguments over the tree of a job file, the later over the earlier. A mapping is merged key
/// by key, everything else is replaced. Argument i becomes a source of `diagnostics` named "command line argument i".
void apply_overrides(YamlNode& root, std::span<const std::string> arguments, Diagnostics& diagnostics);

}  // namespace trident::config
