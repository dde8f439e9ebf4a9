#pragma once

#include <string_view>

#include "train/config/diagnostics.h"

namespace trident::config {

/// Reports what keeps `text`, of source `source`, from being legible text: its size, bytes that are not UTF-8, NUL and
/// other control characters, tabs as indentation. False where the text must not reach the YAML parser.
bool check_text(int source, std::string_view text, Diagnostics& diagnostics);

}  // namespace trident::config
