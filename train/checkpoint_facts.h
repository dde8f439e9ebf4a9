#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/huggingface_config.h"
#include "checkpoint/manifest.h"
#include "parallel/comm/communicator.h"
#include "train/config/job_config.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// 128 random bits in hexadecimal.
[[nodiscard]] std::string random_id();

/// The run's identity, `<run>/run.id`: made at its first start, kept for its life.
[[nodiscard]] std::string run_id_of(const RunDirectory& run);
/// The same on every rank; rank 0 reads it. Collective.
[[nodiscard]] std::string run_id_of(const RunDirectory& run, const Communicator& world);

/// Of what decides which text a token id stands for, among the files that stand beside weights.
[[nodiscard]] Hash128 tokenizer_hash(const std::vector<Attachment>& companions);
[[nodiscard]] Hash128 tokenizer_hash(const JobConfig& job);

/// What every checkpoint of the job says of it, as far as the job alone tells.
[[nodiscard]] Manifest manifest_of(const JobConfig& job, const std::string& run_id);

/// The job and its model, tokenizer and choice of matrix libraries, for the checkpoint.
[[nodiscard]] std::vector<Attachment> attachments_of(const JobConfig& job, const RunDirectory& run,
                                                     const SpecialTokens& special_tokens);

/// Gives a run that has not chosen its matrix libraries the choice that the checkpoint was written under, if it has
/// one.
void restore_gemm_choice(const RunDirectory& run, const std::filesystem::path& checkpoint);

/// File names of these in a checkpoint.
inline constexpr const char* kJobFile = "job.yaml";
inline constexpr const char* kGemmFile = "gemm.json";

}  // namespace trident
