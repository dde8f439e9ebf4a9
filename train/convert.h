#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/dtype.h"

namespace trident {

struct Conversion {
  std::filesystem::path folder;  ///< what was written
  int64_t parameters = 0;
  std::string check;  ///< how it was proved, in words
};

/// Writes the weights of a run, a checkpoint or a Hugging Face directory as a Hugging Face directory, with its
/// tokenizer, and proves the result against the source before it gets its name (train/export_check.h). Memory is a few
/// bands of rows, besides the models that the proof holds where there is room.
Conversion export_model(const std::filesystem::path& source, const std::filesystem::path& out, DType dtype,
                        bool overwrite);

/// Makes a run whose checkpoint of step 0 has the weights of a Hugging Face directory and no moments; training or
/// generation goes on from there. Refuses a run that has checkpoints already; leaves nothing behind where it fails.
Conversion import_model(const std::filesystem::path& huggingface, const std::filesystem::path& run);

}  // namespace trident
