#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// The safetensors format: u64 little-endian header length, a JSON header, then the tensors' bytes (row-major,
// little-endian), which tile the rest of the file with no hole and no overlap. This page is the header; see
// safetensors_reader.h and safetensors_writer.h for files and safetensors_shards.h for several files with an index.
namespace trident {

/// Element types a header may name. Only f64, f32, f16 and bf16 hold weights that can be read; the others are known
/// so that a file which has them is understood, and refused only where such a tensor is used.
enum class SafetensorsDType : uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64
};

[[nodiscard]] std::string_view name_of(SafetensorsDType dtype);
[[nodiscard]] int bits_of(SafetensorsDType dtype);
/// True for f64, f32, f16 and bf16.
[[nodiscard]] bool is_readable_float(SafetensorsDType dtype);

/// What a writer declares.
struct TensorSpec {
  std::string name;
  SafetensorsDType dtype = SafetensorsDType::f32;
  std::vector<int64_t> shape;
};

/// What a file holds: `offset` counts from the start of the file.
struct TensorInfo {
  std::string name;
  SafetensorsDType dtype = SafetensorsDType::f32;
  std::vector<int64_t> shape;
  uint64_t offset = 0;
  uint64_t bytes = 0;

  /// The first dimension; a scalar is one row of one element.
  int64_t rows() const { return shape.empty() ? 1 : shape.front(); }
  /// The product of the other dimensions.
  int64_t row_size() const;
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  ///< first byte after the header
};

/// Most bytes a JSON header may have, as in the reference implementation.
inline constexpr uint64_t kSafetensorsHeaderLimit = 100'000'000;

/// Parses and checks the header of a file whose first bytes are `head` (at least 8 + header length of them, or the
/// whole file) and which has `file_size` bytes. Throws Error(bad_data) that starts with `file`.
[[nodiscard]] SafetensorsHeader parse_safetensors_header(std::span<const std::byte> head, uint64_t file_size,
                                                         const std::string& file);

/// Length field and JSON, padded with spaces to a multiple of 8 bytes; the tensors' bytes follow in the given order.
[[nodiscard]] std::string format_safetensors_header(const std::vector<TensorSpec>& tensors,
                                                    const std::map<std::string, std::string>& metadata);

/// Bytes of a tensor, or an Error(bad_data) naming `where` if a dimension is negative, the product does not fit
/// 63 bits, or a packed type does not fill whole bytes.
[[nodiscard]] uint64_t tensor_bytes(SafetensorsDType dtype, std::span<const int64_t> shape, const std::string& where);

/// "[3, 4]"
[[nodiscard]] std::string format_shape(std::span<const int64_t> shape);

}  // namespace trident
