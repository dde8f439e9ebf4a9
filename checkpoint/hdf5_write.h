#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/hdf5_handle.h"
#include "core/dtype.h"

/// The few things that the checkpoint's HDF5 files are made of. All need a Session.
namespace trident::hdf5 {

/// Little-endian fp32 or fp64.
[[nodiscard]] hid_t file_type(DType dtype);
/// A string type of `bytes` bytes (at least 1) of UTF-8, padded with zeros.
[[nodiscard]] Handle string_type(size_t bytes);
/// Extents; none: a scalar.
[[nodiscard]] Handle dataspace(std::span<const hsize_t> extents);
/// Creation properties of datasets, without times.
[[nodiscard]] Handle dataset_properties();
/// Creates the groups on the way to the object `path` ("/a/b/object") that are not there, without times.
void create_groups(const Handle& file, const std::string& path);

using Texts = std::vector<std::pair<const char*, std::string_view>>;
using Numbers = std::vector<std::pair<const char*, int64_t>>;
/// Attributes of the root group, by name.
void set_attributes(const Handle& file, const Texts& texts, const Numbers& numbers);

}  // namespace trident::hdf5
