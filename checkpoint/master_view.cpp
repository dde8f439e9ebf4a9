#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/hdf5_image.h"
#include "checkpoint/hdf5_write.h"
#include "checkpoint/rank_file.h"
#include "checkpoint/rank_layout.h"
#include "checkpoint/tensor_boxes.h"
#include "core/error.h"

namespace trident {
namespace {

using hdf5::Handle;
using hdf5::require;
using Extents = std::array<hsize_t, Shape::kMaxDims>;

constexpr std::string_view kNote =
    "A view only: virtual datasets over the rank files in this folder, for reading with HDF5 tools. Where a rank file "
    "is missing or damaged, HDF5 may show NaN or wrong values without a warning: only `trident checkpoint verify` says "
    "whether a checkpoint is intact. Trident never reads this file; it may be deleted.";

struct Source {
  const RankFile* file = nullptr;
  const Segment* segment = nullptr;
};

/// "layers/3/attention/query/weight" for every tensor.
std::vector<std::string> paths_of(const std::vector<LogicalTensor>& tensors) {
  std::vector<std::string> paths;
  for (const LogicalTensor& tensor : tensors) {
    std::string& path = paths.emplace_back(tensor.name);
    std::replace(path.begin(), path.end(), '.', '/');
  }
  return paths;
}

/// HDF5 cannot hold a tensor and a group of one name.
void require_no_clash(std::vector<std::string> paths) {
  for (std::string& path : paths) {
    if (('/' + path + '/').find("//") != std::string::npos)
      throw Error(ErrorCode::bad_data, "checkpoint/view", fmt::format("the tensor name {} has an empty part", path));
    path += '/';
  }
  std::sort(paths.begin(), paths.end());
  const auto clash =
      std::adjacent_find(paths.begin(), paths.end(), [](const auto& a, const auto& b) { return b.starts_with(a); });
  if (clash != paths.end())
    throw Error(
        ErrorCode::bad_data, "checkpoint/view",
        fmt::format("the tensors {} and {} cannot both have a place in {}", *clash, *(clash + 1), kMasterViewName),
        "rename one");
}

void select(const Handle& space, const hsize_t* start, const hsize_t* stride, const hsize_t* count,
            const hsize_t* block) {
  require(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start, stride, count, block), "select part of a tensor");
}

Extents to_extents(std::span<const int64_t> dims) {
  Extents extents{};
  std::copy(dims.begin(), dims.end(), extents.begin());
  return extents;
}

/// Maps the segment's elements to their places in the tensor.
void map_segment(const Handle& properties, const Handle& space, const Shape& shape, const Source& source,
                 const std::string& array) {
  const auto file_elements = static_cast<hsize_t>(source.file->elements);
  const Handle flat = hdf5::dataspace({&file_elements, 1});
  const LogicalBlock& block = source.segment->block;
  for (const TensorBox& box : tensor_boxes(shape, block)) {
    const Extents start = to_extents(box.start), count = to_extents(box.count);
    select(space, start.data(), nullptr, count.data(), nullptr);
    const hsize_t from = static_cast<hsize_t>(source.segment->offset) + static_cast<hsize_t>(box.skip);
    const auto stride = static_cast<hsize_t>(block.columns), rows = static_cast<hsize_t>(block.rows);
    const auto run = static_cast<hsize_t>(box.run), all = rows * run;
    if (run == stride)
      select(flat, &from, nullptr, &all, nullptr);
    else
      select(flat, &from, &stride, &rows, &run);
    require(H5Pset_virtual(properties.get(), space.get(), source.file->name.c_str(), array.c_str(), flat.get()),
            "map part of a tensor");
  }
}

void add_tensor(const Handle& file, const std::string& path, const Shape& shape, DType dtype,
                const std::vector<Source>& sources, const std::string& array) {
  const Extents extents = to_extents(shape.dims());
  const Handle space = hdf5::dataspace(std::span(extents).first(static_cast<size_t>(shape.rank())));
  const Handle properties = hdf5::dataset_properties();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  require(H5Pset_fill_value(properties.get(), H5T_NATIVE_DOUBLE, &nan), "set the fill value");
  for (const Source& source : sources) map_segment(properties, space, shape, source, array);
  hdf5::create_groups(file, path);
  const Handle whole = hdf5::dataspace(std::span(extents).first(static_cast<size_t>(shape.rank())));
  const Handle tensor(H5Dcreate2(file.get(), path.c_str(), hdf5::file_type(dtype), whole.get(), H5P_DEFAULT,
                                 properties.get(), H5P_DEFAULT),
                      H5Dclose, "create " + path);
}

/// By tensor.
std::vector<std::vector<Source>> sources_of(const Manifest& manifest) {
  std::vector<std::vector<Source>> sources(manifest.tensors.size());
  for (const RankFile& file : manifest.rank_files) {
    for (const Segment& segment : file.segments)
      sources.at(static_cast<size_t>(segment.tensor)).push_back({&file, &segment});
  }
  return sources;
}

std::string_view group_of(StateKind kind) {
  switch (kind) {
    case StateKind::master: return "/model/";
    case StateKind::exp_avg: return "/optimizer/exp_avg/";
    case StateKind::exp_avg_sq: return "/optimizer/exp_avg_sq/";
  }
  return "/";
}

void build(const Manifest& manifest, hdf5::Image& image) {
  const std::vector<std::string> paths = paths_of(manifest.tensors);
  require_no_clash(paths);
  const auto sources = sources_of(manifest);
  const hdf5::Session session;
  Handle file = hdf5::create_file(image, 4096);
  hdf5::set_attributes(file, {{"format", "trident checkpoint, view"}, {"note", kNote}, {"run_id", manifest.run_id}},
                       {{"version", Manifest::kFormat}, {"step", manifest.step}});
  for (int state = 0; state < manifest.states(); ++state) {
    const auto kind = static_cast<StateKind>(state);
    for (size_t i = 0; i < paths.size(); ++i)
      add_tensor(file, std::string(group_of(kind)) + paths[i], manifest.tensors[i].shape, manifest.dtype, sources[i],
                 array_path(kind));
  }
  file.close("finish the view");
}

}  // namespace

std::vector<std::byte> make_master_view(const Manifest& manifest) {
  hdf5::Image image;
  build(manifest, image);
  std::vector<std::byte> bytes(static_cast<size_t>(image.bytes()));
  image.read(0, bytes);
  return bytes;
}

}  // namespace trident
