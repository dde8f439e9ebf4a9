#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "model/model_config.h"

namespace trident {

struct SpecialTokens {
  std::optional<int64_t> bos;
  std::vector<int64_t> eos;  ///< any of them ends a text
};

/// What Trident takes from a config.json.
struct HuggingFaceConfig {
  ModelConfig model;
  SpecialTokens special_tokens;
};

/// Missing keys take the defaults that transformers documents; a setting that would change the numbers and that
/// Trident does not have is refused by name. Errors start with `source`.
[[nodiscard]] HuggingFaceConfig parse_huggingface_config(const nlohmann::json& json, const std::string& source);

/// config.json of a LlamaForCausalLM or GPT2LMHeadModel.
[[nodiscard]] nlohmann::ordered_json make_huggingface_config(const HuggingFaceConfig& config, DType dtype);

}  // namespace trident
