#pragma once

#include <cstdint>
#include <filesystem>

#include "core/dtype.h"

namespace trident {

struct Conversion {
  std::filesystem::path folder;  ///< what was written
  int64_t parameters = 0;
};

/// Writes the weights of a run, a checkpoint or a Hugging Face directory as a Hugging Face directory.
Conversion export_model(const std::filesystem::path& source, const std::filesystem::path& out, DType dtype,
                        bool overwrite);

/// Makes a run directory whose step 0 are the weights of a Hugging Face directory; training or generation goes on
/// from there. Refuses a run that has checkpoints already.
Conversion import_model(const std::filesystem::path& huggingface, const std::filesystem::path& run);

}  // namespace trident
