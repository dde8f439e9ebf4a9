#include "checkpoint/safetensors.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "checkpoint/safetensors_json.h"
#include "core/error.h"

namespace trident {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors payloads are little-endian");

constexpr auto kRemedy = "the file is damaged or not safetensors; copy or download it again";

struct DTypeRow {
  std::string_view name;
  int bits;
};

// In the order of SafetensorsDType.
constexpr std::array<DTypeRow, 22> kDTypes{
    {{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
     {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
     {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
     {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}}};

const DTypeRow& row_of(SafetensorsDType dtype) { return kDTypes.at(static_cast<size_t>(dtype)); }

Error bad(const std::string& file, const std::string& problem) {
  return {ErrorCode::bad_data, "checkpoint/safetensors", file + ", " + problem, kRemedy};
}

uint64_t read_header_length(std::span<const std::byte> head, uint64_t file_size, const std::string& file) {
  if (file_size < 8 || head.size() < 8) {
    throw bad(file, fmt::format("byte 0: the file has {} bytes, expected at least 8 for the header length", file_size));
  }
  uint64_t length = 0;
  std::memcpy(&length, head.data(), sizeof(length));
  if (length > kSafetensorsHeaderLimit) {
    throw bad(file, fmt::format("byte 0: header length is {}, expected at most {}", length, kSafetensorsHeaderLimit));
  }
  if (length > file_size - 8 || length > head.size() - 8) {
    throw bad(file, fmt::format("byte 0: header length is {}, but only {} bytes follow", length, file_size - 8));
  }
  return length;
}

void check_tiling(std::vector<TensorInfo>& tensors, uint64_t data_bytes, const std::string& file) {
  // A tensor of no bytes sorts before the one that starts where it stands.
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  uint64_t expected = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != expected) {
      throw bad(file, fmt::format("tensor {}: data_offsets begin at {}, expected {} ({})", tensor.name, tensor.offset,
                                  expected, tensor.offset < expected ? "tensors overlap" : "a hole between tensors"));
    }
    expected += tensor.bytes;  // cannot overflow: every end was checked against the data section
  }
  if (expected != data_bytes) {
    throw bad(file,
              fmt::format("tensors end at data byte {}, expected {} (the end of the file)", expected, data_bytes));
  }
}

}  // namespace

std::string_view name_of(SafetensorsDType dtype) { return row_of(dtype).name; }
int bits_of(SafetensorsDType dtype) { return row_of(dtype).bits; }

bool is_readable_float(SafetensorsDType dtype) {
  return dtype == SafetensorsDType::f64 || dtype == SafetensorsDType::f32 || dtype == SafetensorsDType::f16 ||
         dtype == SafetensorsDType::bf16;
}

std::optional<SafetensorsDType> safetensors_dtype(std::string_view name) {
  for (size_t i = 0; i < kDTypes.size(); ++i) {
    if (kDTypes[i].name == name) return static_cast<SafetensorsDType>(i);
  }
  return std::nullopt;
}

int64_t TensorInfo::row_size() const {
  int64_t size = 1;
  for (size_t i = 1; i < shape.size(); ++i) size *= shape[i];
  return size;
}

std::string format_shape(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

uint64_t tensor_bytes(SafetensorsDType dtype, std::span<const int64_t> shape, const std::string& where) {
  // Zero dimensions do not hide an overflow of the others: row_size() multiplies those too.
  uint64_t elements = 1;
  bool empty = false;
  for (const int64_t dim : shape) {
    if (dim < 0) throw bad(where, fmt::format("shape {} has a negative dimension", format_shape(shape)));
    empty = empty || dim == 0;
    if (dim > 0 && __builtin_mul_overflow(elements, static_cast<uint64_t>(dim), &elements)) elements = UINT64_MAX;
    if (elements > uint64_t{INT64_MAX} / 64) {
      throw bad(where, fmt::format("shape {} of {} does not fit 63 bits", format_shape(shape), name_of(dtype)));
    }
  }
  const uint64_t bits = empty ? 0 : elements * static_cast<uint64_t>(bits_of(dtype));
  if (bits % 8 != 0) {
    throw bad(where, fmt::format("shape {} of {} does not fill whole bytes", format_shape(shape), name_of(dtype)));
  }
  return bits / 8;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> head, uint64_t file_size,
                                           const std::string& file) {
  const uint64_t length = read_header_length(head, file_size, file);
  SafetensorsHeader header;
  header.data_begin = 8 + length;
  const uint64_t data_bytes = file_size - header.data_begin;
  parse_safetensors_json(head.subspan(8, length), data_bytes, file, header);
  check_tiling(header.tensors, data_bytes, file);
  for (TensorInfo& tensor : header.tensors) tensor.offset += header.data_begin;
  return header;
}

std::string format_safetensors_header(const std::vector<TensorSpec>& tensors,
                                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  uint64_t offset = 0;
  // ordered_json looks a key up linearly; the writer has refused duplicates already, so append.
  auto& object = json.get_ref<nlohmann::ordered_json::object_t&>();
  for (const TensorSpec& tensor : tensors) {
    const uint64_t end = offset + tensor_bytes(tensor.dtype, tensor.shape, "tensor " + tensor.name);
    nlohmann::ordered_json entry = {
        {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    object.push_back({tensor.name, std::move(entry)});
    offset = end;
  }
  std::string text = json.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + text;
}

}  // namespace trident
