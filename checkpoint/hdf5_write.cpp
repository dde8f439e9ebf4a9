#include "checkpoint/hdf5_write.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace trident::hdf5 {
namespace {

void set_attribute(const Handle& object, const std::string& name, hid_t type, const void* value) {
  const Handle scalar = dataspace({});
  const Handle attribute(H5Acreate2(object.get(), name.c_str(), type, scalar.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
                         "create the attribute " + name);
  require(H5Awrite(attribute.get(), type, value), "write the attribute " + name);
}

}  // namespace

hid_t file_type(DType dtype) {
  TRIDENT_CHECK(dtype == DType::fp32 || dtype == DType::fp64);
  return dtype == DType::fp32 ? H5T_IEEE_F32LE : H5T_IEEE_F64LE;
}

Handle string_type(size_t bytes) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "make a string type");
  require(H5Tset_size(type.get(), std::max<size_t>(1, bytes)), "set a string's size");
  require(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "set a string's padding");
  require(H5Tset_cset(type.get(), H5T_CSET_UTF8), "set a string's character set");
  return type;
}

Handle dataspace(std::span<const hsize_t> extents) {
  if (extents.empty()) return Handle(H5Screate(H5S_SCALAR), H5Sclose, "make a scalar dataspace");
  return Handle(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose,
                "make a dataspace");
}

Handle dataset_properties() {
  Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "make dataset properties");
  require(H5Pset_obj_track_times(properties.get(), false), "leave out times");
  return properties;
}

// Not H5Pset_create_intermediate_group: groups made by it carry times.
void create_groups(const Handle& file, const std::string& path) {
  const Handle properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "make group properties");
  require(H5Pset_obj_track_times(properties.get(), false), "leave out times");
  for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string name = path.substr(0, end);
    const htri_t there = H5Lexists(file.get(), name.c_str(), H5P_DEFAULT);
    require(there, "look for " + name);
    if (there == 0)
      (void)Handle(H5Gcreate2(file.get(), name.c_str(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Gclose,
                   "create the group " + name);
  }
}

void set_attributes(const Handle& file, const Texts& texts, const Numbers& numbers) {
  const Handle root(H5Gopen2(file.get(), "/", H5P_DEFAULT), H5Gclose, "open the root group");
  for (const auto& [name, text] : texts) {
    const Handle type = string_type(text.size());
    const std::string value(text);  // ends with a zero, which an empty text needs
    set_attribute(root, name, type.get(), value.c_str());
  }
  for (const auto& [name, number] : numbers) set_attribute(root, name, H5T_STD_I64LE, &number);
}

}  // namespace trident::hdf5
