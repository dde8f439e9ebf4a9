#include "checkpoint/rank_layout.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <span>

#include "checkpoint/hdf5_write.h"

namespace trident {
namespace {

using hdf5::Handle;
using hdf5::require;

/// Creates a one-dimensional dataset and writes `rows`, whose type in memory is `type` as well.
void write_table(const Handle& file, const char* name, const Handle& type, size_t rows, const void* data) {
  const hsize_t extent = rows;
  const Handle space = hdf5::dataspace({&extent, 1});
  const Handle properties = hdf5::dataset_properties();
  const Handle table(H5Dcreate2(file.get(), name, type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
                     H5Dclose, std::string("create ") + name);
  if (rows > 0)
    require(H5Dwrite(table.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data), std::string("write ") + name);
}

void insert(const Handle& compound, const char* name, size_t offset, hid_t type) {
  require(H5Tinsert(compound.get(), name, offset, type), std::string("add the field ") + name);
}

void write_segments(const Handle& file, const std::vector<Segment>& segments) {
  constexpr std::array kFields = {"tensor", "row0", "column0", "rows", "columns", "offset"};
  using Row = std::array<int64_t, kFields.size()>;
  const Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Row)), H5Tclose, "make the type of segments");
  for (size_t i = 0; i < kFields.size(); ++i) insert(type, kFields[i], i * sizeof(int64_t), H5T_STD_I64LE);
  std::vector<Row> rows;
  rows.reserve(segments.size());
  for (const auto& [tensor, block, offset] : segments)
    rows.push_back({tensor, block.row0, block.column0, block.rows, block.columns, offset});
  write_table(file, "segments", type, rows.size(), rows.data());
}

void write_tensors(const Handle& file, const std::vector<LogicalTensor>& tensors) {
  size_t longest = 1;
  for (const LogicalTensor& tensor : tensors) longest = std::max(longest, tensor.name.size());
  using Extents = std::array<int64_t, Shape::kMaxDims>;
  const size_t row_bytes = longest + sizeof(int64_t) + sizeof(Extents);
  const Handle name_type = hdf5::string_type(longest);
  const hsize_t dims = Shape::kMaxDims;
  const Handle extents_type(H5Tarray_create2(H5T_STD_I64LE, 1, &dims), H5Tclose, "make the type of shapes");
  const Handle type(H5Tcreate(H5T_COMPOUND, row_bytes), H5Tclose, "make the type of tensors");
  insert(type, "name", 0, name_type.get());
  insert(type, "dims", longest, H5T_STD_I64LE);
  insert(type, "shape", longest + sizeof(int64_t), extents_type.get());

  std::vector<char> rows(tensors.size() * row_bytes);
  char* row = rows.data();
  for (const LogicalTensor& tensor : tensors) {
    const int64_t rank = tensor.shape.rank();
    Extents extents{};
    std::copy(tensor.shape.dims().begin(), tensor.shape.dims().end(), extents.begin());
    std::copy(tensor.name.begin(), tensor.name.end(), row);
    std::memcpy(row + longest, &rank, sizeof rank);
    std::memcpy(row + longest + sizeof rank, extents.data(), sizeof extents);
    row += row_bytes;
  }
  write_table(file, "tensors", type, tensors.size(), rows.data());
}

/// Room for one array; nothing is written. Returns its first byte in the file, 0 where it has none.
int64_t allocate_array(const Handle& file, const std::string& name, DType dtype, int64_t elements) {
  const auto extent = static_cast<hsize_t>(elements);
  const Handle space = hdf5::dataspace({&extent, 1});
  const Handle properties = hdf5::dataset_properties();
  require(H5Pset_layout(properties.get(), H5D_CONTIGUOUS), "ask for contiguous storage");
  require(H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY), "ask for early allocation");
  require(H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER), "ask for no fill value");
  hdf5::create_groups(file, name);
  const Handle array(H5Dcreate2(file.get(), name.c_str(), hdf5::file_type(dtype), space.get(), H5P_DEFAULT,
                                properties.get(), H5P_DEFAULT),
                     H5Dclose, "create " + name);
  const haddr_t begin = H5Dget_offset(array.get());
  return begin == HADDR_UNDEF ? 0 : static_cast<int64_t>(begin);
}

void write_attributes(const Handle& file, const RankFileHeader& header) {
  hdf5::set_attributes(file, {{"format", "trident checkpoint, one rank"}, {"run_id", header.run_id}},
                       {{"version", Manifest::kFormat},
                        {"step", header.step},
                        {"rank", header.rank},
                        {"dp_rank", header.dp_rank},
                        {"tp_rank", header.tp_rank},
                        {"pp_rank", header.pp_rank}});
}

}  // namespace

std::string array_path(StateKind kind) { return "/optim/" + std::string(to_string(kind)); }

RankLayout::RankLayout(const RankFileHeader& header) {
  const hdf5::Session session;
  const int64_t array_bytes = header.elements * static_cast<int64_t>(size_of(header.dtype));
  Handle file = hdf5::create_file(image, std::clamp<int64_t>(array_bytes, 1, 4096));
  write_attributes(file, header);
  write_tensors(file, header.tensors);
  write_segments(file, header.segments);
  for (int state = 0; state < (header.moments ? kStateKinds : 1); ++state) {
    payload[static_cast<size_t>(state)] =
        allocate_array(file, array_path(static_cast<StateKind>(state)), header.dtype, header.elements);
  }
  file.close("finish the layout of a rank's file");
}

}  // namespace trident
