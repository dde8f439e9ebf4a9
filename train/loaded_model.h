#pragma once

#include <filesystem>
#include <memory>

#include "data/tokenizer.h"
#include "model/model.h"

namespace trident {

/// A trained model as `generate` and `eval` use it: weights from a run, a checkpoint or a Hugging Face directory.
struct LoadedModel {
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;  ///< null where the directory brings none

  /// Throws Error where there is no tokenizer, saying what to do.
  [[nodiscard]] const Tokenizer& require_tokenizer() const;
};

[[nodiscard]] LoadedModel load_model(const std::filesystem::path& path, DType compute, const Stream& stream);

}  // namespace trident
