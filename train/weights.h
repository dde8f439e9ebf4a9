#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/parameter.h"
#include "model/model_config.h"
#include "train/config/job_config.h"
#include "train/metrics/run_directory.h"
#include "train/weight_gatherer.h"

namespace trident {

class HuggingFaceReader;

// A run keeps weights as Hugging Face directories, checkpoints/step_NNNNNNNN/, with `latest` naming the newest.

/// Writes the master weights after `step` steps; the folder appears whole or not at all. Returns it. Collective over
/// the gatherer's ranks: rank 0 writes, and if it cannot, every rank throws.
std::filesystem::path write_weights(const RunDirectory& run, int64_t step, const JobConfig& job,
                                    WeightGatherer& gatherer);

/// Fills `whole`, the storage of a whole model on rank 0 and null elsewhere, with the weights that all ranks hold; one
/// that has released its master weights gets compute weights alone. Collective over the gatherer's ranks.
void gather_weights(WeightGatherer& gatherer, ParameterStorage* whole, const Stream& stream);

/// Where a job's weights start: the path in checkpoint.resume, the run's own step 0 (imported weights), or nowhere.
[[nodiscard]] std::optional<std::filesystem::path> initial_weights(const JobConfig& job, const RunDirectory& run);

/// Fills the storage, of a whole model or of a rank's part, from a Hugging Face directory, whose model must be
/// `config`. Reads no rows but those of the part. Throws Error naming both values where it is another model.
void load_weights(const std::filesystem::path& folder, const ModelConfig& config, ParameterStorage& storage,
                  const Stream& stream);

/// The same from an opened directory, for a storage built from its own configuration.
void load_weights(const HuggingFaceReader& reader, ParameterStorage& storage, const Stream& stream);

/// What `generate`, `eval` and `export` are pointed at.
struct ModelSource {
  std::filesystem::path folder;  ///< a Hugging Face directory
  std::string tokenizer;         ///< as load_tokenizer takes it; empty where there is none
};

/// `path` is a run, one of its checkpoints, or a Hugging Face directory. Throws Error(ErrorCode::input_missing).
[[nodiscard]] ModelSource find_model(const std::filesystem::path& path);

/// The files of a tokenizer at `path`, a folder or one of them, that belong beside exported weights.
[[nodiscard]] std::vector<std::filesystem::path> tokenizer_files_in(const std::filesystem::path& path);

}  // namespace trident
