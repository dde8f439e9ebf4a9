#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/huggingface_config.h"
#include "checkpoint/huggingface_names.h"
#include "checkpoint/safetensors_shards.h"
#include "core/dtype.h"
#include "model/model_config.h"

// Hugging Face model directories, Llama and GPT-2: config.json with model.safetensors or indexed shards.
//
// Rotary embedding pairs element i with i + head_dim/2, as Hugging Face's Llama does, so query and key rows keep their
// order. Weights in Meta's original order (pairs side by side) carry no mark that tells them apart: convert such a
// model with Hugging Face's own script first.
namespace trident {

/// Opens a directory and presents it as Trident's logical tensors. Opening checks everything but the values: the
/// configuration, and that exactly the expected tensors are there with their exact shapes.
class HuggingFaceReader {
 public:
  explicit HuggingFaceReader(const std::filesystem::path& directory);

  const ModelConfig& config() const { return config_.model; }
  const SpecialTokens& special_tokens() const { return config_.special_tokens; }
  /// Names and shapes of the logical tensors, in model order.
  const std::vector<HuggingFaceTensor>& tensors() const { return tensors_; }

  /// Rows [row0, row0 + rows) of logical tensor `name`, row-major; touches little more of the files than those rows.
  void read(std::string_view name, int64_t row0, int64_t rows, std::span<float> out) const;
  void read(std::string_view name, int64_t row0, int64_t rows, std::span<double> out) const;

 private:
  template <class T>
  void read_rows(std::string_view name, int64_t row0, int64_t rows, std::span<T> out) const;
  void find_prefix();
  void check_expected();
  void check_unexpected() const;
  void check_tied_head() const;
  std::string stored_name(const HuggingFaceTensor& tensor) const;

  std::string directory_;
  HuggingFaceConfig config_;
  SafetensorsModel model_;
  std::string prefix_;  ///< "model." or "transformer.", or nothing where the base model was saved alone
  std::vector<HuggingFaceTensor> tensors_;
  std::unordered_map<std::string_view, size_t> index_;  ///< keys point into tensors_
  std::vector<SafetensorsModel::Entry> stored_;         ///< beside tensors_
};

/// Fills `out` with rows [row0, row0 + rows) of a logical tensor.
using TensorSource = std::function<void(const std::string& name, int64_t row0, int64_t rows, std::span<float> out)>;

struct HuggingFaceExport {
  DType dtype = DType::fp32;  ///< fp32 or bf16
  uint64_t shard_bytes = kDefaultShardBytes;
  SpecialTokens special_tokens;
  bool byte_tokenizer = false;                         ///< writes a tokenizer whose ids are byte values
  std::vector<std::filesystem::path> tokenizer_files;  ///< copied under their own names
  bool overwrite = false;                              ///< replace a directory that is not empty
  /// Called with what is written, before it gets its name; what it throws leaves nothing behind.
  std::function<void(const std::filesystem::path& written)> check;
};

/// What stands beside the weights: config.json, generation_config.json and the tokenizer's files.
[[nodiscard]] std::vector<Attachment> companion_files(const ModelConfig& config, const HuggingFaceExport& options);

/// Writes the directory whole or not at all. Tensors are asked for in file order, in blocks of rows; a GPT-2 matrix is
/// held whole while it is transposed.
void export_huggingface(const std::filesystem::path& directory, const ModelConfig& config, const TensorSource& source,
                        const HuggingFaceExport& options = {});

}  // namespace trident
