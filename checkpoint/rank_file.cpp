#include "checkpoint/rank_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "checkpoint/file_hash.h"
#include "checkpoint/hdf5_memory_file.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr int64_t kPieceBytes = kHashBlockBytes;

hid_t file_type(DType dtype) { return dtype == DType::fp64 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE; }

void add_attribute(hid_t object, const char* name, int64_t value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, "describe an attribute");
  const Hdf5Handle attribute(H5Acreate2(object, name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
                             "add an attribute");
  require_hdf5(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value) >= 0, "write an attribute");
}

void add_attribute(hid_t object, const char* name, const std::string& value) {
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "describe an attribute");
  require_hdf5(H5Tset_size(type.get(), value.size() + 1) >= 0 && H5Tset_cset(type.get(), H5T_CSET_UTF8) >= 0,
               "describe an attribute");
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, "describe an attribute");
  const Hdf5Handle attribute(H5Acreate2(object, name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
                             "add an attribute");
  require_hdf5(H5Awrite(attribute.get(), type.get(), value.c_str()) >= 0, "write an attribute");
}

/// A contiguous flat array that has its place in the file, and no content yet. Where its bytes belong; 0 for no bytes.
int64_t add_flat_array(hid_t group, StateKind kind, DType dtype, int64_t elements) {
  const auto extent = static_cast<hsize_t>(elements);
  const Hdf5Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose, "describe a dataset");
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "describe a dataset");
  require_hdf5(H5Pset_layout(creation.get(), H5D_CONTIGUOUS) >= 0 &&
                   H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY) >= 0 &&
                   H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER) >= 0,
               "describe a dataset");
  const Hdf5Handle dataset(H5Dcreate2(group, std::string(to_string(kind)).c_str(), file_type(dtype), space.get(),
                                      H5P_DEFAULT, creation.get(), H5P_DEFAULT),
                           H5Dclose, "add a dataset");
  if (elements == 0) return 0;
  const haddr_t offset = H5Dget_offset(dataset.get());
  require_hdf5(offset != HADDR_UNDEF, "place a dataset");
  return static_cast<int64_t>(offset);
}

void add_table(hid_t file, const char* name, hid_t type, size_t rows, const void* data) {
  const auto extent = static_cast<hsize_t>(rows);
  const Hdf5Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose, "describe a table");
  const Hdf5Handle dataset(H5Dcreate2(file, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose,
                           "add a table");
  if (rows > 0) require_hdf5(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, "write a table");
}

void add_segments(hid_t file, const std::vector<Segment>& segments) {
  constexpr const char* kColumns[] = {"tensor", "row0", "column0", "rows", "columns", "offset"};
  const Hdf5Handle type(H5Tcreate(H5T_COMPOUND, std::size(kColumns) * 8), H5Tclose, "describe a table");
  for (size_t i = 0; i < std::size(kColumns); ++i)
    require_hdf5(H5Tinsert(type.get(), kColumns[i], i * 8, H5T_STD_I64LE) >= 0, "describe a table");
  std::vector<int64_t> rows;
  for (const auto& [tensor, block, offset] : segments)
    rows.insert(rows.end(), {tensor, block.row0, block.column0, block.rows, block.columns, offset});
  add_table(file, "segments", type.get(), segments.size(), rows.data());
}

void add_tensors(hid_t file, const std::vector<LogicalTensor>& tensors) {
  size_t longest = 1;
  for (const LogicalTensor& tensor : tensors) longest = std::max(longest, tensor.name.size());
  const size_t text = longest + 1, row = text + Shape::kMaxDims * 8;
  const Hdf5Handle name(H5Tcopy(H5T_C_S1), H5Tclose, "describe a table");
  require_hdf5(H5Tset_size(name.get(), text) >= 0, "describe a table");
  const hsize_t dims = Shape::kMaxDims;
  const Hdf5Handle shape(H5Tarray_create2(H5T_STD_I64LE, 1, &dims), H5Tclose, "describe a table");
  const Hdf5Handle type(H5Tcreate(H5T_COMPOUND, row), H5Tclose, "describe a table");
  require_hdf5(
      H5Tinsert(type.get(), "name", 0, name.get()) >= 0 && H5Tinsert(type.get(), "shape", text, shape.get()) >= 0,
      "describe a table");
  std::vector<char> rows(row * tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::memcpy(rows.data() + i * row, tensors[i].name.data(), tensors[i].name.size());
    const auto extents = tensors[i].shape.dims();
    std::memcpy(rows.data() + i * row + text, extents.data(), extents.size_bytes());
  }
  add_table(file, "tensors", type.get(), tensors.size(), rows.data());
}

void add_header(hid_t file, const RankFileHeader& header) {
  add_attribute(file, "format", "trident checkpoint");
  add_attribute(file, "run_id", header.run_id);
  const std::pair<const char*, int64_t> numbers[] = {{"version", Manifest::kFormat}, {"step", header.step},
                                                     {"rank", header.rank},          {"dp_rank", header.dp_rank},
                                                     {"tp_rank", header.tp_rank},    {"pp_rank", header.pp_rank}};
  for (const auto& [name, value] : numbers) add_attribute(file, name, value);
}

/// The bytes of a file in order: hashed, and written in pieces.
class HashedFile {
 public:
  HashedFile(FileSystem& files, const std::filesystem::path& path, int64_t bytes) : file_(files.create(path)) {
    file_->reserve(bytes);
  }
  void append(std::span<const std::byte> bytes) {
    hasher_.update(bytes);
    file_->write(at_, bytes);
    at_ += std::ssize(bytes);
  }
  [[nodiscard]] int64_t at() const { return at_; }
  [[nodiscard]] BlockHashes finish() {
    file_->sync();
    file_->close();
    return hasher_.finish();
  }

 private:
  std::unique_ptr<WritableFile> file_;
  BlockHasher hasher_;
  int64_t at_ = 0;
};

void append_metadata(HashedFile& file, const Hdf5MemoryFile& layout, int64_t until) {
  std::vector<std::byte> piece;
  while (file.at() < until) {
    piece.resize(static_cast<size_t>(std::min(kPieceBytes, until - file.at())));
    layout.read(file.at(), piece);
    file.append(piece);
  }
}

void append_payload(HashedFile& file, const StateSource& source, StateKind kind, int64_t bytes) {
  for (int64_t at = 0; at < bytes;) {
    // Up to the next boundary of blocks, so that whole blocks are hashed at once.
    const int64_t count = std::min(kPieceBytes - file.at() % kPieceBytes, bytes - at);
    const auto piece = source(kind, at, count);
    TRIDENT_CHECK(!piece.empty() && std::ssize(piece) <= count);
    file.append(piece);
    at += std::ssize(piece);
  }
}

}  // namespace

std::string rank_file_name(int rank) { return fmt::format("rank_{:05}.h5", rank); }

std::string block_hash_file_name(const std::string& rank_file) {
  return rank_file.substr(0, rank_file.rfind('.')) + ".sum";
}

RankFile write_rank_file(FileSystem& files, const std::filesystem::path& folder, const RankFileHeader& header,
                         const StateSource& source) {
  RankFile result;
  result.name = rank_file_name(header.rank);
  result.elements = header.elements;
  result.segments = header.segments;
  const int states = header.moments ? kStateKinds : 1;
  const Hdf5MemoryFile layout([&](hid_t file) {
    add_header(file, header);
    add_tensors(file, header.tensors);
    add_segments(file, header.segments);
    const Hdf5Handle group(H5Gcreate2(file, "optim", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose, "add a group");
    for (int kind = 0; kind < states; ++kind)
      result.payload[static_cast<size_t>(kind)] =
          add_flat_array(group.get(), static_cast<StateKind>(kind), header.dtype, header.elements);
  });
  result.bytes = layout.bytes();
  HashedFile file(files, folder / result.name, result.bytes);
  std::vector<std::pair<int64_t, StateKind>> arrays;
  for (int kind = 0; kind < states && header.elements > 0; ++kind)
    arrays.emplace_back(result.payload[static_cast<size_t>(kind)], static_cast<StateKind>(kind));
  std::sort(arrays.begin(), arrays.end());
  for (const auto& [offset, kind] : arrays) {
    append_metadata(file, layout, offset);
    append_payload(file, source, kind, header.elements * static_cast<int64_t>(size_of(header.dtype)));
  }
  append_metadata(file, layout, result.bytes);
  const BlockHashes hashes = file.finish();
  result.hash = hashes.file_hash();
  write_file(files, folder / block_hash_file_name(result.name), encode(hashes));
  return result;
}

}  // namespace trident
