#include "train/model_weights.h"

#include <optional>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/strict_json.h"
#include "core/error.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

bool is_checkpoint(const fs::path& path) { return fs::exists(path / Manifest::kFileName); }

fs::path find_model(const fs::path& path) {
  if (const auto checkpoint = checkpoint_in(path)) return *checkpoint;
  if (fs::exists(path / "config.json")) return path;
  throw Error(ErrorCode::input_missing, "weights",
              path.string() + " is neither a run with checkpoints, nor a checkpoint, nor a Hugging Face directory",
              "a checkpoint has MANIFEST.json, a Hugging Face directory has config.json and model.safetensors");
}

}  // namespace

std::optional<fs::path> checkpoint_in(const fs::path& path) {
  if (!fs::is_directory(path)) return std::nullopt;
  if (is_checkpoint(path)) return path;
  const auto checkpoints = CheckpointRoot(RunDirectory(path).checkpoints()).list();
  return checkpoints.empty() ? std::nullopt : std::optional(checkpoints.front().folder);
}

ModelWeights::ModelWeights(const fs::path& path) : folder_(find_model(path)) {
  if (is_checkpoint(folder_)) {
    auto reader = std::make_unique<CheckpointReader>(folder_);
    config_ = model_of(*reader);
    reader_ = std::move(reader);
  } else {
    auto reader = std::make_unique<HuggingFaceReader>(folder_);
    config_ = {reader->config(), reader->special_tokens()};
    reader_ = std::move(reader);
  }
}

std::string ModelWeights::tokenizer() const {
  for (const char* name : {"tokenizer.json", "vocab.bpe", "merges.txt"}) {
    if (fs::exists(folder_ / name)) return folder_.string();
  }
  return {};
}

template <class T>
void ModelWeights::read_rows(const std::string& name, int64_t row0, int64_t rows, std::span<T> out) const {
  if (const auto* huggingface = std::get_if<std::unique_ptr<HuggingFaceReader>>(&reader_))
    return (*huggingface)->read(name, row0, rows, out);
  CheckpointReader& checkpoint = *std::get<std::unique_ptr<CheckpointReader>>(reader_);
  const int tensor = checkpoint.find(name);
  TRIDENT_CHECK(tensor >= 0, name);
  const LogicalBlock whole = whole_block(checkpoint.manifest().tensors[static_cast<size_t>(tensor)].shape);
  checkpoint.read(StateKind::master, tensor, {row0, rows, 0, whole.columns}, out);
}

void ModelWeights::read(const std::string& name, int64_t row0, int64_t rows, std::span<float> out) const {
  read_rows(name, row0, rows, out);
}

void ModelWeights::read(const std::string& name, int64_t row0, int64_t rows, std::span<double> out) const {
  read_rows(name, row0, rows, out);
}

HuggingFaceConfig model_of(CheckpointReader& checkpoint) {
  const std::string source = (checkpoint.folder() / "config.json").string();
  return parse_huggingface_config(parse_strict_json(checkpoint.extra_file("config.json"), source), source);
}

std::vector<fs::path> tokenizer_files_in(const fs::path& path) {
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  std::vector<fs::path> files;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.bpe",
                           "encoder.json", "vocab.json", "merges.txt"}) {
    if (fs::exists(folder / name)) files.push_back(folder / name);
  }
  return files;
}

}  // namespace trident
