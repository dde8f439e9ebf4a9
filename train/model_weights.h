#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/huggingface.h"

namespace trident {

/// The checkpoint that a path means: itself, or a run's newest; nothing where it is neither.
[[nodiscard]] std::optional<std::filesystem::path> checkpoint_in(const std::filesystem::path& path);

/// The weights of a trained model as rows of its logical tensors, from a run (its newest checkpoint), one of its
/// checkpoints or a Hugging Face directory. Reads no more than what is asked for, and of checkpoints verifies it.
class ModelWeights {
 public:
  /// Throws Error(input_missing) where `path` is none of these; what the readers throw.
  explicit ModelWeights(const std::filesystem::path& path);

  [[nodiscard]] const ModelConfig& config() const { return config_.model; }
  [[nodiscard]] const SpecialTokens& special_tokens() const { return config_.special_tokens; }
  /// Of the directory that holds them.
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// As load_tokenizer takes it; empty where the directory has none.
  [[nodiscard]] std::string tokenizer() const;

  /// Rows [row0, row0 + rows) of logical tensor `name`, row-major.
  void read(const std::string& name, int64_t row0, int64_t rows, std::span<float> out) const;
  void read(const std::string& name, int64_t row0, int64_t rows, std::span<double> out) const;

 private:
  template <class T>
  void read_rows(const std::string& name, int64_t row0, int64_t rows, std::span<T> out) const;

  std::filesystem::path folder_;
  HuggingFaceConfig config_;
  std::variant<std::unique_ptr<HuggingFaceReader>, std::unique_ptr<CheckpointReader>> reader_;
};

/// The model that a checkpoint's config.json describes.
[[nodiscard]] HuggingFaceConfig model_of(CheckpointReader& checkpoint);

/// The files of a tokenizer at `path`, a folder or one of them, that belong beside exported weights.
[[nodiscard]] std::vector<std::filesystem::path> tokenizer_files_in(const std::filesystem::path& path);

}  // namespace trident
