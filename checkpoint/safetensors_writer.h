#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "core/atomic_file.h"

namespace trident {

/// Streams one safetensors file: all tensors are declared first, then their values come in the declared order, in
/// blocks of any size. The file appears under its name only at commit().
class SafetensorsWriter {
 public:
  /// Throws Error(bad_data) on duplicate names, impossible shapes, or a type other than f64, f32, f16 and bf16.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

  /// The next values of tensor `name`, converted (rounded to nearest even) to its declared type.
  void append(const std::string& name, std::span<const float> values);
  void append(const std::string& name, std::span<const double> values);

  /// Every declared value must have come.
  void commit();

 private:
  template <class T>
  void append_values(const std::string& name, std::span<const T> values);
  void skip_empty_tensors();

  AtomicFile file_;
  std::vector<TensorSpec> tensors_;
  size_t current_ = 0;      ///< tensor that the next value belongs to
  uint64_t remaining_ = 0;  ///< bytes of it still to come
  std::vector<std::byte> buffer_;
};

}  // namespace trident
