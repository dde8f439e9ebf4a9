#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/safetensors.h"
#include "core/mapped_file.h"

namespace trident {

/// Part of a tensor seen as a matrix of rows() x row_size().
struct TensorBlock {
  int64_t row0 = 0;
  int64_t rows = 0;
  int64_t column0 = 0;
  int64_t columns = 0;
};

/// One safetensors file, mapped. Opening checks the whole header; reading touches only what is asked for and converts
/// f64, f32, f16 and bf16 to the output's type.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::string& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  /// nullptr where the file has no such tensor.
  const TensorInfo* find(std::string_view name) const;
  /// Throws Error(bad_data) where the file has no such tensor.
  const TensorInfo& at(std::string_view name) const;

  /// Row-major values of `block`, which must lie in the tensor; `out` has rows * columns elements.
  void read_block(const TensorInfo& tensor, const TensorBlock& block, std::span<float> out) const;
  void read_block(const TensorInfo& tensor, const TensorBlock& block, std::span<double> out) const;

  /// Whole rows [row0, row0 + rows).
  template <class T>
  void read_rows(const TensorInfo& tensor, int64_t row0, int64_t rows, std::span<T> out) const {
    read_block(tensor, {row0, rows, 0, tensor.row_size()}, out);
  }

  /// The tensor's bytes as they lie in the file.
  std::span<const std::byte> bytes(const TensorInfo& tensor) const {
    return file_.bytes().subspan(tensor.offset, tensor.bytes);
  }

 private:
  template <class T>
  void convert_block(const TensorInfo& tensor, const TensorBlock& block, std::span<T> out) const;

  std::string path_;
  MappedFile file_;
  SafetensorsHeader header_;
  std::unordered_map<std::string_view, size_t> index_;  ///< keys point into header_.tensors
};

}  // namespace trident
