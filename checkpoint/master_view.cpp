#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "checkpoint/hdf5_memory_file.h"
#include "checkpoint/rank_file.h"
#include "core/error.h"

namespace trident {
namespace {

struct Source {
  const RankFile* file = nullptr;
  const Segment* segment = nullptr;
};

std::string path_of(StateKind kind, std::string name) {
  std::replace(name.begin(), name.end(), '.', '/');
  switch (kind) {
    case StateKind::master: return "/model/" + name;
    case StateKind::exp_avg: return "/optimizer/exp_avg/" + name;
    case StateKind::exp_avg_sq: return "/optimizer/exp_avg_sq/" + name;
  }
  return name;
}

/// Selects the segment's rectangle in the tensor; columns are all dimensions but the outermost, so only a matrix may be
/// cut by columns.
void select(hid_t space, const Shape& shape, const LogicalBlock& block) {
  std::array<hsize_t, Shape::kMaxDims> start{}, count{};
  for (int dim = 0; dim < shape.rank(); ++dim) count[static_cast<size_t>(dim)] = static_cast<hsize_t>(shape[dim]);
  start[0] = static_cast<hsize_t>(block.row0);
  count[0] = static_cast<hsize_t>(block.rows);
  if (shape.rank() == 2) {
    start[1] = static_cast<hsize_t>(block.column0);
    count[1] = static_cast<hsize_t>(block.columns);
  } else {
    TRIDENT_CHECK(block.columns == whole_block(shape).columns, "only matrices are cut by columns");
  }
  require_hdf5(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr) >= 0,
               "select a part of a view");
}

void add_view(hid_t file, const Manifest& manifest, size_t tensor, StateKind kind, const std::vector<Source>& sources) {
  const Shape& shape = manifest.tensors[tensor].shape;
  std::array<hsize_t, Shape::kMaxDims> extents{};
  for (int dim = 0; dim < shape.rank(); ++dim) extents[static_cast<size_t>(dim)] = static_cast<hsize_t>(shape[dim]);
  const Hdf5Handle whole(H5Screate_simple(shape.rank(), extents.data(), nullptr), H5Sclose, "describe a view");
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "describe a view");
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  require_hdf5(H5Pset_fill_value(creation.get(), H5T_NATIVE_DOUBLE, &nothing) >= 0, "describe a view");
  const std::string dataset = "/optim/" + std::string(to_string(kind));
  for (const auto& [source, segment] : sources) {
    const auto elements = static_cast<hsize_t>(source->elements);
    const Hdf5Handle flat(H5Screate_simple(1, &elements, nullptr), H5Sclose, "describe a view");
    const auto start = static_cast<hsize_t>(segment->offset), count = static_cast<hsize_t>(segment->block.elements());
    require_hdf5(H5Sselect_hyperslab(flat.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr) >= 0,
                 "select a part of a file");
    select(whole.get(), shape, segment->block);
    require_hdf5(H5Pset_virtual(creation.get(), whole.get(), source->name.c_str(), dataset.c_str(), flat.get()) >= 0,
                 "map a part of a view");
  }
  const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, "describe a view");
  require_hdf5(H5Pset_create_intermediate_group(links.get(), 1) >= 0, "describe a view");
  require_hdf5(H5Sselect_all(whole.get()) >= 0, "describe a view");
  const hid_t type = manifest.dtype == DType::fp64 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE;
  const Hdf5Handle view(H5Dcreate2(file, path_of(kind, manifest.tensors[tensor].name).c_str(), type, whole.get(),
                                   links.get(), creation.get(), H5P_DEFAULT),
                        H5Dclose, "add a view");
}

void add_note(hid_t file) {
  const std::string note =
      "A view over the rank files beside it, for reading. HDF5 shows NaN where one of them is missing: use "
      "`trident checkpoint verify` to know whether the checkpoint is intact.";
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "describe a note");
  require_hdf5(H5Tset_size(type.get(), note.size() + 1) >= 0, "describe a note");
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, "describe a note");
  const Hdf5Handle attribute(H5Acreate2(file, "note", type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
                             "add a note");
  require_hdf5(H5Awrite(attribute.get(), type.get(), note.c_str()) >= 0, "write a note");
}

}  // namespace

std::vector<std::byte> make_master_view(const Manifest& manifest) {
  std::vector<std::vector<Source>> sources(manifest.tensors.size());
  for (const RankFile& file : manifest.rank_files) {
    for (const Segment& segment : file.segments)
      sources[static_cast<size_t>(segment.tensor)].push_back({&file, &segment});
  }
  const Hdf5MemoryFile view([&](hid_t file) {
    add_note(file);
    for (size_t tensor = 0; tensor < sources.size(); ++tensor) {
      for (int kind = 0; kind < manifest.states(); ++kind)
        add_view(file, manifest, tensor, static_cast<StateKind>(kind), sources[tensor]);
    }
  });
  std::vector<std::byte> bytes(static_cast<size_t>(view.bytes()));
  view.read(0, bytes);
  return bytes;
}

}  // namespace trident
