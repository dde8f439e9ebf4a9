#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "checkpoint/byte_tokenizer_json.h"
#include "checkpoint/huggingface.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/mapped_file.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kValuesAtOnce = int64_t{1} << 20;

/// A directory that appears whole or not at all: filled beside its final place, then renamed.
class AtomicDirectory {
 public:
  AtomicDirectory(const fs::path& path, bool overwrite)
      : path_(without_trailing_slash(path)), temporary_(neighbour("tmp")) {
    if (fs::exists(path_) && !overwrite && !(fs::is_directory(path_) && fs::is_empty(path_))) {
      throw Error(ErrorCode::usage, "checkpoint/huggingface", path_.string() + " exists and is not empty",
                  "choose another directory, or allow it to be replaced");
    }
    fs::remove_all(temporary_);
    fs::create_directories(temporary_);
  }
  ~AtomicDirectory() {
    std::error_code ignored;
    fs::remove_all(temporary_, ignored);
  }
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const fs::path& temporary() const { return temporary_; }

  void commit() {
    sync_directory(temporary_);
    const fs::path replaced = neighbour("old");
    const bool replaces = fs::exists(path_);
    if (replaces) fs::rename(path_, replaced);
    fs::rename(temporary_, path_);
    sync_directory(path_.parent_path());
    if (replaces) fs::remove_all(replaced);
  }

 private:
  static fs::path without_trailing_slash(const fs::path& path) {
    const fs::path whole = fs::absolute(path).lexically_normal();
    return whole.has_filename() ? whole : whole.parent_path();
  }
  fs::path neighbour(const char* kind) const {
    return path_.parent_path() / fmt::format(".{}.{}.{}", path_.filename().string(), kind, ::getpid());
  }

  fs::path path_;
  fs::path temporary_;
};

/// One tensor of the file and the logical tensors that fill it.
struct StoredTensor {
  TensorSpec spec;
  std::vector<HuggingFaceTensor> parts;
};

std::vector<StoredTensor> stored_tensors(const ModelConfig& config, SafetensorsDType dtype) {
  const std::string prefix(base_model_prefix(config.architecture));
  std::vector<StoredTensor> stored;
  for (HuggingFaceTensor& tensor : huggingface_tensors(config)) {
    std::string name = (tensor.in_base_model ? prefix : "") + tensor.stored_name;
    if (stored.empty() || stored.back().spec.name != name) {
      stored.push_back({{std::move(name), dtype, tensor.stored_shape}, {}});
    }
    stored.back().parts.push_back(std::move(tensor));
  }
  return stored;
}

void write_rows(SafetensorsModelWriter& writer, const StoredTensor& stored, const TensorSource& source) {
  std::vector<float> buffer;
  for (const HuggingFaceTensor& part : stored.parts) {
    const int64_t height = part.shape.front();
    const int64_t band = std::clamp<int64_t>(kValuesAtOnce / part.row_size(), 1, height);
    for (int64_t row0 = 0; row0 < height; row0 += band) {
      const int64_t rows = std::min(band, height - row0);
      buffer.resize(static_cast<size_t>(rows * part.row_size()));
      source(part.name, row0, rows, buffer);
      writer.append(stored.spec.name, std::span<const float>(buffer));
    }
  }
}

/// Parts lie side by side in the columns of the stored matrix.
void write_transposed(SafetensorsModelWriter& writer, const StoredTensor& stored, const TensorSource& source) {
  const int64_t width = stored.spec.shape[1];
  std::vector<float> whole(static_cast<size_t>(stored.spec.shape[0] * width));
  std::vector<float> buffer;
  for (const HuggingFaceTensor& part : stored.parts) {
    const int64_t inputs = part.row_size();
    const int64_t band = std::clamp<int64_t>(kValuesAtOnce / inputs, 1, part.shape.front());
    for (int64_t row0 = 0; row0 < part.shape.front(); row0 += band) {
      const int64_t rows = std::min(band, part.shape.front() - row0);
      buffer.resize(static_cast<size_t>(rows * inputs));
      source(part.name, row0, rows, buffer);
      for (int64_t input = 0; input < inputs; ++input) {
        for (int64_t row = 0; row < rows; ++row) {
          whole[static_cast<size_t>(input * width + part.first_row + row0 + row)] =
              buffer[static_cast<size_t>(row * inputs + input)];
        }
      }
    }
  }
  writer.append(stored.spec.name, std::span<const float>(whole));
}

void write_weights(const fs::path& directory, const ModelConfig& config, const TensorSource& source,
                   const HuggingFaceExport& options) {
  const auto dtype = options.dtype == DType::bf16 ? SafetensorsDType::bf16 : SafetensorsDType::f32;
  const auto stored = stored_tensors(config, dtype);
  std::vector<TensorSpec> specs;
  specs.reserve(stored.size());
  for (const StoredTensor& tensor : stored) specs.push_back(tensor.spec);
  SafetensorsModelWriter writer(directory, specs, options.shard_bytes);
  for (const StoredTensor& tensor : stored) {
    tensor.parts.front().transposed ? write_transposed(writer, tensor, source) : write_rows(writer, tensor, source);
  }
  writer.commit();
}

}  // namespace

std::vector<Attachment> companion_files(const ModelConfig& config, const HuggingFaceExport& options) {
  const auto json = make_huggingface_config({config, options.special_tokens}, options.dtype);
  nlohmann::ordered_json generation = {{"_from_model_config", true}};
  for (const char* key : {"bos_token_id", "eos_token_id"}) {
    if (!json.at(key).is_null()) generation[key] = json.at(key);
  }
  std::vector<Attachment> files{{"config.json", json.dump(2) + "\n"},
                                {"generation_config.json", generation.dump(2) + "\n"}};
  for (const fs::path& path : options.tokenizer_files) {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    files.push_back({path.filename().string(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
  }
  if (!options.byte_tokenizer) return files;
  const nlohmann::ordered_json settings = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                           {"clean_up_tokenization_spaces", false},
                                           {"model_max_length", config.max_position_embeddings}};
  files.push_back({"tokenizer.json", byte_tokenizer_json()});
  files.push_back({"tokenizer_config.json", settings.dump(2) + "\n"});
  return files;
}

void export_huggingface(const fs::path& directory, const ModelConfig& config, const TensorSource& source,
                        const HuggingFaceExport& options) {
  TRIDENT_CHECK(options.dtype == DType::fp32 || options.dtype == DType::bf16, "export as fp32 or bf16");
  try {
    AtomicDirectory target(directory, options.overwrite);
    for (const Attachment& file : companion_files(config, options))
      write_file_atomically(target.temporary() / file.name, file.content);
    write_weights(target.temporary(), config, source, options);
    if (options.check) options.check(target.temporary());
    target.commit();
  } catch (const fs::filesystem_error& failure) {
    throw Error(ErrorCode::io, "checkpoint/huggingface", failure.what(), "check free space and permissions");
  }
}

}  // namespace trident
