#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/parameter.h"
#include "model/model_config.h"
#include "train/config/job_config.h"
#include "train/metrics/run_directory.h"

namespace trident {

// A run keeps weights as Hugging Face directories, checkpoints/step_NNNNNNNN/, with `latest` naming the newest.

/// Writes the master weights after `step` steps; the folder appears whole or not at all. Returns it.
std::filesystem::path write_weights(const RunDirectory& run, int64_t step, const JobConfig& job,
                                    const ParameterStorage& storage);

/// Where a job's weights start: the path in checkpoint.resume, the run's own step 0 (imported weights), or nowhere.
[[nodiscard]] std::optional<std::filesystem::path> initial_weights(const JobConfig& job, const RunDirectory& run);

/// Fills the storage from a Hugging Face directory, whose model must be `config`. Throws Error naming both values
/// where it is another.
void load_weights(const std::filesystem::path& folder, const ModelConfig& config, ParameterStorage& storage,
                  const Stream& stream);

/// What `generate`, `eval` and `export` are pointed at.
struct ModelSource {
  std::filesystem::path folder;  ///< a Hugging Face directory
  std::string tokenizer;         ///< as load_tokenizer takes it; empty where there is none
};

/// `path` is a run, one of its checkpoints, or a Hugging Face directory. Throws Error(ErrorCode::input_missing).
[[nodiscard]] ModelSource find_model(const std::filesystem::path& path);

}  // namespace trident
