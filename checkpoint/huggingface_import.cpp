#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "checkpoint/huggingface.h"
#include "checkpoint/strict_json.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr size_t kConfigLimit = size_t{4} << 20;

Error bad(const std::string& problem, const std::string& remedy = {}) {
  return {ErrorCode::bad_data, "checkpoint/huggingface", problem, remedy};
}

HuggingFaceConfig read_config(const std::filesystem::path& path) {
  return parse_huggingface_config(read_json_file(path, kConfigLimit), path.string());
}

void check_stored(const SafetensorsModel::Entry& entry, const HuggingFaceTensor& expected) {
  const TensorInfo& found = *entry.tensor;
  if (found.shape != expected.stored_shape) {
    throw bad(fmt::format("{}, tensor {}: shape is {}, expected {} from config.json", entry.file->path(), found.name,
                          format_shape(found.shape), format_shape(expected.stored_shape)));
  }
  if (!is_readable_float(found.dtype)) {
    throw bad(fmt::format("{}, tensor {}: dtype is {}, expected F64, F32, F16 or BF16", entry.file->path(), found.name,
                          name_of(found.dtype)),
              "convert the weights to one of these types first");
  }
}

/// Columns of the stored matrix, as rows. Goes by bands of stored rows, so that both sides stay in cache.
template <class T>
void read_transposed(const SafetensorsModel::Entry& entry, int64_t column0, int64_t columns, std::span<T> out) {
  const int64_t height = entry.tensor->rows();
  const int64_t band = std::clamp<int64_t>((int64_t{1} << 16) / std::max<int64_t>(columns, 1), 1, height);
  std::vector<T> rows(static_cast<size_t>(band * columns));
  for (int64_t row0 = 0; row0 < height; row0 += band) {
    const int64_t count = std::min(band, height - row0);
    const auto block = std::span<T>(rows).first(static_cast<size_t>(count * columns));
    entry.file->read_block(*entry.tensor, {row0, count, column0, columns}, block);
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t row = 0; row < count; ++row) {
        out[static_cast<size_t>(column * height + row0 + row)] = block[static_cast<size_t>(row * columns + column)];
      }
    }
  }
}

}  // namespace

HuggingFaceReader::HuggingFaceReader(const std::filesystem::path& directory)
    : directory_(directory.string()),
      config_(read_config(directory / "config.json")),
      model_(directory),
      tensors_(huggingface_tensors(config_.model)) {
  find_prefix();
  check_expected();
  check_unexpected();
  check_tied_head();
}

void HuggingFaceReader::find_prefix() {
  const std::string prefix(base_model_prefix(config_.model.architecture));
  const std::string& first = tensors_.front().stored_name;
  const bool bare = model_.find(prefix + first).tensor == nullptr && model_.find(first).tensor != nullptr;
  prefix_ = bare ? "" : prefix;
}

std::string HuggingFaceReader::stored_name(const HuggingFaceTensor& tensor) const {
  return tensor.in_base_model ? prefix_ + tensor.stored_name : tensor.stored_name;
}

void HuggingFaceReader::check_expected() {
  stored_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const std::string name = stored_name(tensors_[i]);
    const auto entry = model_.find(name);
    if (entry.tensor == nullptr) {
      throw bad(fmt::format("{}: tensor {} is missing", directory_, name),
                "check that config.json belongs to these weights");
    }
    check_stored(entry, tensors_[i]);
    stored_.push_back(entry);
    index_.emplace(tensors_[i].name, i);
  }
}

void HuggingFaceReader::check_unexpected() const {
  std::unordered_set<std::string> expected{"lm_head.weight"};
  for (const HuggingFaceTensor& tensor : tensors_) expected.insert(stored_name(tensor));
  for (const auto& entry : model_.entries()) {
    const std::string& name = entry.tensor->name;
    if (expected.contains(name) || is_huggingface_buffer(config_.model.architecture, name)) continue;
    throw bad(fmt::format("{}, tensor {}: config.json describes no such tensor", entry.file->path(), name),
              "check that config.json belongs to these weights");
  }
}

/// A tied head may be saved once more; then it must be the embedding, or config.json does not tell the truth.
void HuggingFaceReader::check_tied_head() const {
  const auto head = model_.find("lm_head.weight");
  if (!config_.model.tie_word_embeddings || head.tensor == nullptr) return;
  const auto& embedding = stored_.front();
  const bool same = head.tensor->dtype == embedding.tensor->dtype && head.tensor->shape == embedding.tensor->shape &&
                    std::ranges::equal(head.file->bytes(*head.tensor), embedding.file->bytes(*embedding.tensor));
  if (same) return;
  throw bad(fmt::format("{}, tensor lm_head.weight: differs from {}, but config.json says tie_word_embeddings",
                        head.file->path(), embedding.tensor->name),
            "set tie_word_embeddings to false in config.json if the head is meant to differ");
}

template <class T>
void HuggingFaceReader::read_rows(std::string_view name, int64_t row0, int64_t rows, std::span<T> out) const {
  const auto found = index_.find(name);
  TRIDENT_CHECK(found != index_.end(), fmt::format("{} has no tensor {}", directory_, name));
  const HuggingFaceTensor& tensor = tensors_[found->second];
  TRIDENT_CHECK(row0 >= 0 && rows >= 0 && row0 <= tensor.shape.front() - rows, tensor.name);
  TRIDENT_CHECK(static_cast<int64_t>(out.size()) == rows * tensor.row_size(), tensor.name);
  const auto& entry = stored_[found->second];
  if (tensor.transposed) {
    read_transposed(entry, tensor.first_row + row0, rows, out);
  } else {
    entry.file->read_rows(*entry.tensor, tensor.first_row + row0, rows, out);
  }
}

void HuggingFaceReader::read(std::string_view name, int64_t row0, int64_t rows, std::span<float> out) const {
  read_rows(name, row0, rows, out);
}

void HuggingFaceReader::read(std::string_view name, int64_t row0, int64_t rows, std::span<double> out) const {
  read_rows(name, row0, rows, out);
}

}  // namespace trident
