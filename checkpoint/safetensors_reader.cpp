#include "checkpoint/safetensors_reader.h"

#include <fmt/format.h>

#include <cstring>
#include <type_traits>

#include "checkpoint/float16.h"
#include "core/dtype.h"
#include "core/error.h"

namespace trident {
namespace {

/// Bytes may stand at any address: headers of other writers need not be padded.
template <class Stored>
Stored load(const std::byte* at) {
  Stored value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

template <class Stored, class T>
void convert(const std::byte* from, std::span<T> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const auto value = load<Stored>(from + sizeof(Stored) * i);
    if constexpr (std::is_floating_point_v<Stored>) {
      out[i] = static_cast<T>(value);
    } else {
      out[i] = static_cast<T>(static_cast<float>(value));
    }
  }
}

template <class T>
void convert(SafetensorsDType dtype, const std::byte* from, std::span<T> out) {
  switch (dtype) {
    case SafetensorsDType::f64: return convert<double>(from, out);
    case SafetensorsDType::f32: return convert<float>(from, out);
    case SafetensorsDType::f16: return convert<float16>(from, out);
    case SafetensorsDType::bf16: return convert<bfloat16>(from, out);
    default: TRIDENT_CHECK(false, "not a readable float");
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path.string()), file_(path) {
  header_ = parse_safetensors_header(file_.bytes(), file_.bytes().size(), path_);
  index_.reserve(header_.tensors.size());
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_.emplace(header_.tensors[i].name, i);
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

const TensorInfo& SafetensorsFile::at(std::string_view name) const {
  const TensorInfo* tensor = find(name);
  if (tensor == nullptr) {
    throw Error(ErrorCode::bad_data, "checkpoint/safetensors",
                fmt::format("{}: no tensor {} among its {}", path_, name, header_.tensors.size()));
  }
  return *tensor;
}

template <class T>
void SafetensorsFile::convert_block(const TensorInfo& tensor, const TensorBlock& block, std::span<T> out) const {
  const int64_t width = tensor.row_size();
  TRIDENT_CHECK(block.row0 >= 0 && block.rows >= 0 && block.row0 <= tensor.rows() - block.rows, tensor.name);
  TRIDENT_CHECK(block.column0 >= 0 && block.columns >= 0 && block.column0 <= width - block.columns, tensor.name);
  TRIDENT_CHECK(static_cast<int64_t>(out.size()) == block.rows * block.columns, tensor.name);
  if (!is_readable_float(tensor.dtype)) {
    throw Error(ErrorCode::bad_data, "checkpoint/safetensors",
                fmt::format("{}, tensor {}: dtype is {}, expected F64, F32, F16 or BF16", path_, tensor.name,
                            name_of(tensor.dtype)),
                "convert the weights to one of these types first");
  }
  if (out.empty()) return;
  const auto element = static_cast<size_t>(bits_of(tensor.dtype) / 8);
  const std::byte* begin = bytes(tensor).data();
  for (int64_t row = 0; row < block.rows; ++row) {
    const auto first = static_cast<size_t>((block.row0 + row) * width + block.column0);
    const auto columns = static_cast<size_t>(block.columns);
    convert(tensor.dtype, begin + first * element, out.subspan(static_cast<size_t>(row) * columns, columns));
  }
}

void SafetensorsFile::read_block(const TensorInfo& tensor, const TensorBlock& block, std::span<float> out) const {
  convert_block(tensor, block, out);
}

void SafetensorsFile::read_block(const TensorInfo& tensor, const TensorBlock& block, std::span<double> out) const {
  convert_block(tensor, block, out);
}

}  // namespace trident
