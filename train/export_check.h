#pragma once

#include <filesystem>
#include <string>

#include "core/dtype.h"
#include "train/model_weights.h"

namespace trident {

/// Reads the exported directory `written` back: every weight must be that of `source`, rounded to `dtype`, bit for bit.
/// Where a model fits into half of the free memory, the logits of a few tokens must be equal too. Says what was found
/// equal. Throws Error(internal) naming tensor and rows, or the token.
std::string check_export(const ModelWeights& source, const std::filesystem::path& written, DType dtype);

}  // namespace trident
