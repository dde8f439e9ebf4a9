#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/model_config.h"

namespace trident {

/// Where one logical tensor of Trident lies in a Hugging Face state dict.
struct HuggingFaceTensor {
  std::string name;            ///< Trident's: "layers.0.attention.query.weight"
  std::vector<int64_t> shape;  ///< Trident's; matrices of linear layers are [out, in]

  std::string stored_name;  ///< "layers.0.self_attn.q_proj.weight", without the base model's prefix
  std::vector<int64_t> stored_shape;
  bool in_base_model = true;  ///< carries the prefix "model." or "transformer."; the head does not
  bool transposed = false;    ///< GPT-2's Conv1D keeps [in, out]
  int64_t first_row = 0;      ///< logical row 0 is this row (column where transposed) of the stored tensor

  int64_t row_size() const { return shape.size() == 2 ? shape[1] : 1; }
};

/// All tensors of a model in the order in which a forward pass meets them; those that share a stored tensor stand
/// together, in its order, and fill it.
[[nodiscard]] std::vector<HuggingFaceTensor> huggingface_tensors(const ModelConfig& config);

/// "model." or "transformer."
[[nodiscard]] std::string_view base_model_prefix(Architecture architecture);

/// Buffers that older versions saved among the weights and that hold nothing learned.
[[nodiscard]] bool is_huggingface_buffer(Architecture architecture, std::string_view stored_name);

}  // namespace trident
