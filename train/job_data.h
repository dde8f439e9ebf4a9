#pragma once

#include <memory>

#include "data/tokenizer.h"
#include "data/training_data.h"
#include "train/config/job_config.h"

namespace trident {

/// What a job trains on.
[[nodiscard]] TrainingDataConfig training_data_config(const JobConfig& job);

/// Throws Error(ErrorCode::config) where it has more tokens than the model, and what make_tokenizer throws.
[[nodiscard]] std::unique_ptr<Tokenizer> open_tokenizer(const JobConfig& job);

}  // namespace trident
