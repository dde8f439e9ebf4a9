#include "checkpoint/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "checkpoint/float16.h"
#include "core/dtype.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr size_t kValuesAtOnce = size_t{1} << 16;

template <class Stored>
void store(std::byte* at, Stored value) {
  std::memcpy(at, &value, sizeof(value));
}

template <class T>
void convert(SafetensorsDType dtype, std::span<const T> values, std::byte* out) {
  for (size_t i = 0; i < values.size(); ++i) {
    switch (dtype) {
      case SafetensorsDType::f64: store(out + 8 * i, static_cast<double>(values[i])); break;
      case SafetensorsDType::f32: store(out + 4 * i, static_cast<float>(values[i])); break;
      case SafetensorsDType::f16: store(out + 2 * i, float16(static_cast<float>(values[i]))); break;
      case SafetensorsDType::bf16: store(out + 2 * i, bfloat16(static_cast<float>(values[i]))); break;
      default: TRIDENT_CHECK(false, "not a writable float");
    }
  }
}

void check_declared(const std::vector<TensorSpec>& tensors, const std::string& file) {
  std::unordered_set<std::string_view> names;
  for (const TensorSpec& tensor : tensors) {
    const std::string where = file + ", tensor " + tensor.name;
    const auto refuse = [&](const std::string& problem) {
      throw Error(ErrorCode::bad_data, "checkpoint/safetensors", where + ": " + problem);
    };
    if (tensor.name == "__metadata__") refuse("the name is reserved");
    if (!names.insert(tensor.name).second) refuse("declared twice");
    if (!is_readable_float(tensor.dtype)) refuse(fmt::format("cannot write {}", name_of(tensor.dtype)));
    static_cast<void>(tensor_bytes(tensor.dtype, tensor.shape, where));
  }
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path), tensors_(std::move(tensors)) {
  check_declared(tensors_, path.string());
  const std::string header = format_safetensors_header(tensors_, metadata);
  if (header.size() - 8 > kSafetensorsHeaderLimit) {
    throw Error(ErrorCode::bad_data, "checkpoint/safetensors",
                fmt::format("{}: header would have {} bytes, the format allows {}", path.string(), header.size() - 8,
                            kSafetensorsHeaderLimit),
                "write more and smaller shards");
  }
  file_.write(header);
  if (!tensors_.empty()) remaining_ = tensor_bytes(tensors_[0].dtype, tensors_[0].shape, tensors_[0].name);
  skip_empty_tensors();
}

void SafetensorsWriter::skip_empty_tensors() {
  while (remaining_ == 0 && current_ < tensors_.size()) {
    ++current_;
    if (current_ == tensors_.size()) return;
    const TensorSpec& next = tensors_[current_];
    remaining_ = tensor_bytes(next.dtype, next.shape, next.name);
  }
}

template <class T>
void SafetensorsWriter::append_values(const std::string& name, std::span<const T> values) {
  while (!values.empty()) {
    TRIDENT_CHECK(current_ < tensors_.size(), "more values than declared, for " + name);
    const TensorSpec& tensor = tensors_[current_];
    TRIDENT_CHECK(tensor.name == name, "values of " + name + " came where " + tensor.name + " was expected");
    const auto element = static_cast<size_t>(bits_of(tensor.dtype) / 8);
    const std::span<const T> block = values.first(std::min(values.size(), kValuesAtOnce));
    TRIDENT_CHECK(block.size() * element <= remaining_, "more values than declared for " + name);
    buffer_.resize(block.size() * element);
    convert(tensor.dtype, block, buffer_.data());
    file_.write(buffer_.data(), buffer_.size());
    remaining_ -= buffer_.size();
    values = values.subspan(block.size());
    skip_empty_tensors();
  }
}

void SafetensorsWriter::append(const std::string& name, std::span<const float> values) { append_values(name, values); }
void SafetensorsWriter::append(const std::string& name, std::span<const double> values) { append_values(name, values); }

void SafetensorsWriter::commit() {
  TRIDENT_CHECK(current_ == tensors_.size(),
                "values missing from " + tensors_[std::min(current_, tensors_.size() - 1)].name);
  file_.commit();
}

}  // namespace trident
