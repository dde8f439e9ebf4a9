#pragma once

#include <memory>
#include <optional>

#include "data/tokenizer.h"
#include "data/training_data.h"
#include "data/validation_data.h"
#include "train/config/job_config.h"

namespace trident {

/// What a job reads, opened and checked: by whoever starts ranks, and by every rank.
struct JobInputs {
  /// Throws Error: of what cannot be read or makes no sense; of a tokenizer with more tokens than the model.
  explicit JobInputs(const JobConfig& job);

  std::unique_ptr<Tokenizer> tokenizer;
  TrainingData training;
  std::optional<ValidationData> validation;
};

}  // namespace trident
