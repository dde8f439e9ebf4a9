// Any bytes as a safetensors file: either an Error(bad_data), or tensors that tile the data section exactly.
#include <cstdint>
#include <span>

#include "checkpoint/safetensors.h"
#include "core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const trident::SafetensorsHeader header = trident::parse_safetensors_header(bytes, size, "fuzz");
    uint64_t end = header.data_begin;
    for (const trident::TensorInfo& tensor : header.tensors) {
      if (tensor.offset != end) __builtin_trap();
      end += tensor.bytes;
      const int64_t bits = tensor.rows() * tensor.row_size() * trident::bits_of(tensor.dtype);
      if (bits != static_cast<int64_t>(tensor.bytes) * 8) __builtin_trap();
    }
    if (end != size) __builtin_trap();
  } catch (const trident::Error& error) {
    if (error.code() != trident::ErrorCode::bad_data) __builtin_trap();
  }
  return 0;
}
