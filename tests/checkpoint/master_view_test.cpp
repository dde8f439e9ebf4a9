#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/hdf5_handle.h"
#include "checkpoint/rank_file.h"
#include "checkpoint/tensor_boxes.h"
#include "core/error.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using hdf5::Handle;
using test::ScratchDir;
using ::testing::HasSubstr;
using testing::SampleCheckpoint;

Manifest write_with_view(const ScratchDir& dir, const SampleCheckpoint& sample) {
  Manifest manifest = sample.write(posix_file_system(), dir.path());
  write_file(posix_file_system(), dir / kMasterViewName, make_master_view(manifest));
  return manifest;
}

Handle open_view(const ScratchDir& dir) {
  return {H5Fopen((dir / kMasterViewName).c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, "open the view"};
}

struct Whole {
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

Whole read_tensor(const Handle& file, const std::string& path, DType dtype) {
  const Handle tensor(H5Dopen2(file.get(), path.c_str(), H5P_DEFAULT), H5Dclose, "open " + path);
  const Handle space(H5Dget_space(tensor.get()), H5Sclose, "get a dataspace");
  std::array<hsize_t, Shape::kMaxDims> extents{};
  const int rank = H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
  Whole whole{{extents.begin(), extents.begin() + rank}, {}};
  whole.bytes.resize(static_cast<size_t>(H5Sget_simple_extent_npoints(space.get())) * size_of(dtype));
  const hid_t type = dtype == DType::fp32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
  hdf5::require(H5Dread(tensor.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, whole.bytes.data()), "read " + path);
  return whole;
}

class MasterViews : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, MasterViews, ::testing::Values(DType::fp32, DType::fp64),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST_P(MasterViews, ShowEveryTensorWholeBitForBit) {
  const ScratchDir dir;
  const SampleCheckpoint sample(GetParam());
  const Manifest manifest = write_with_view(dir, sample);
  const std::array<std::string, 5> paths = {"embedding/weight", "layers/0/attention/query/weight",
                                            "layers/0/norm/weight", "layers/1/mlp/up/weight", "layers/10/kernel"};
  const std::array<std::string, 3> groups = {"/model/", "/optimizer/exp_avg/", "/optimizer/exp_avg_sq/"};
  const hdf5::Session session;
  const Handle file = open_view(dir);
  for (size_t kind = 0; kind < groups.size(); ++kind) {
    for (size_t i = 0; i < paths.size(); ++i) {
      const auto [shape, bytes] = read_tensor(file, groups[kind] + paths[i], GetParam());
      const auto dims = manifest.tensors[i].shape.dims();
      EXPECT_EQ(shape, std::vector(dims.begin(), dims.end()));
      EXPECT_EQ(bytes, sample.tensor_bytes(static_cast<StateKind>(kind), static_cast<int>(i))) << paths[i];
    }
  }
}

TEST(MasterView, ShowsTensorsOfThreeDimensionsThatAreCutByColumns) {
  const ScratchDir dir;
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.0F);
  Manifest manifest;
  manifest.moments = false;
  manifest.tensors = {{"kernel", {2, 3, 4}}};
  for (const LogicalBlock& part : {LogicalBlock{0, 2, 0, 5}, LogicalBlock{0, 2, 5, 7}}) {
    std::vector<float> local;
    for (int64_t i = 0; i < part.elements(); ++i)
      local.push_back(values[static_cast<size_t>(i / part.columns * 12 + part.column0 + i % part.columns)]);
    RankFileHeader header;
    header.rank = static_cast<int>(manifest.rank_files.size());
    header.moments = false;
    header.elements = part.elements();
    header.tensors = manifest.tensors;
    header.segments = {{0, part, 0}};
    manifest.rank_files.push_back(
        write_rank_file(posix_file_system(), dir.path(), header, [&](StateKind, int64_t begin, int64_t count) {
          return std::as_bytes(std::span(local)).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
        }));
  }
  write_file(posix_file_system(), dir / kMasterViewName, make_master_view(manifest));
  const hdf5::Session session;
  const Whole whole = read_tensor(open_view(dir), "/model/kernel", DType::fp32);
  EXPECT_EQ(whole.shape, (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(std::memcmp(whole.bytes.data(), values.data(), whole.bytes.size()), 0);
}

TEST(MasterView, SaysThatItIsOnlyAView) {
  const ScratchDir dir;
  (void)write_with_view(dir, SampleCheckpoint());
  const hdf5::Session session;
  const Handle file = open_view(dir);
  const Handle note(H5Aopen(file.get(), "note", H5P_DEFAULT), H5Aclose, "open the note");
  const Handle type(H5Aget_type(note.get()), H5Tclose, "get a type");
  std::string text(H5Tget_size(type.get()), '\0');
  hdf5::require(H5Aread(note.get(), type.get(), text.data()), "read the note");
  EXPECT_THAT(text, HasSubstr("A view only"));
}

// What HDF5 does with a file that is not there, and why no reader may trust it.
TEST(MasterView, ShowsNaNForAMissingFile) {
  const ScratchDir dir;
  (void)write_with_view(dir, SampleCheckpoint());
  std::filesystem::remove(dir / "rank_00001.h5");
  const hdf5::Session session;
  const Whole whole = read_tensor(open_view(dir), "/model/embedding/weight", DType::fp32);
  float last = 0;
  std::memcpy(&last, whole.bytes.data() + whole.bytes.size() - sizeof last, sizeof last);
  EXPECT_TRUE(std::isnan(last));
}

TEST(MasterView, MayBeMovedWithItsFolder) {
  const ScratchDir dir;
  std::filesystem::create_directory(dir / "a");
  const SampleCheckpoint sample;
  const Manifest manifest = sample.write(posix_file_system(), dir / "a");
  write_file(posix_file_system(), dir / "a" / kMasterViewName, make_master_view(manifest));
  std::filesystem::rename(dir / "a", dir / "b");
  const hdf5::Session session;
  const Handle file(H5Fopen((dir / "b" / kMasterViewName).c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, "open");
  EXPECT_EQ(read_tensor(file, "/model/embedding/weight", DType::fp32).bytes, sample.tensor_bytes(StateKind::master, 0));
}

TEST(MasterView, SameManifestSameBytes) {
  const ScratchDir dir;
  const Manifest manifest = SampleCheckpoint().write(posix_file_system(), dir.path());
  const auto first = make_master_view(manifest);
  std::vector<std::vector<char>> heap;  // other content for what might be left uninitialised
  for (size_t size = 1; size < 5000; size += 7) heap.emplace_back(size, '\x5a');
  heap.clear();
  EXPECT_EQ(make_master_view(manifest), first);
}

TEST(MasterView, WeightsAloneHaveNoOptimizer) {
  const ScratchDir dir;
  (void)write_with_view(dir, SampleCheckpoint(DType::fp32, false));
  const hdf5::Session session;
  const Handle file = open_view(dir);
  EXPECT_GT(H5Lexists(file.get(), "/model", H5P_DEFAULT), 0);
  EXPECT_EQ(H5Lexists(file.get(), "/optimizer", H5P_DEFAULT), 0);
}

TEST(MasterView, RefusesNamesThatClash) {
  const auto refusal = [](const std::vector<std::string>& names) -> std::string {
    Manifest manifest;
    for (const std::string& name : names) manifest.tensors.push_back({name, {1}});
    try {
      (void)make_master_view(manifest);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  EXPECT_EQ(refusal({"a.b", "ab", "a-b", "a.bc"}), "nothing was refused");
  EXPECT_THAT(refusal({"a.b.c", "a-b", "a.b"}), HasSubstr("the tensors a/b/ and a/b/c/ cannot both have a place"));
  EXPECT_THAT(refusal({"a.b", "a/b"}), HasSubstr("cannot both have a place"));
  for (const char* name : {"", ".", "a..b", ".a", "a.", "/a"}) EXPECT_THAT(refusal({name}), HasSubstr("empty part"));
}

TEST(TensorBoxes, CoverEveryElementOnceInOrder) {
  for (const Shape& shape : {Shape{5}, Shape{4, 6}, Shape{3, 4, 5}, Shape{2, 3, 4, 5}, Shape{2, 1, 3, 1}}) {
    const LogicalBlock whole = whole_block(shape);
    for (int64_t begin = 0; begin < whole.columns; ++begin) {
      for (int64_t columns = 1; begin + columns <= whole.columns; ++columns) {
        const LogicalBlock block{1, shape[0] - 1, begin, columns};
        std::vector<int64_t> columns_seen;
        for (const TensorBox& box : tensor_boxes(shape, block)) {
          EXPECT_EQ(box.start[0], block.row0);
          EXPECT_EQ(box.count[0], block.rows);
          EXPECT_EQ(box.skip, std::ssize(columns_seen));
          // The box's elements of one row, in HDF5's order.
          std::vector<int64_t> run = {0};
          for (int dim = 1; dim < shape.rank(); ++dim) {
            const auto d = static_cast<size_t>(dim);
            ASSERT_LE(box.start[d] + box.count[d], shape[dim]);
            std::vector<int64_t> next;
            for (const int64_t outer : run) {
              for (int64_t i = 0; i < box.count[d]; ++i) next.push_back(outer * shape[dim] + box.start[d] + i);
            }
            run = next;
          }
          EXPECT_EQ(std::ssize(run), box.run);
          columns_seen.insert(columns_seen.end(), run.begin(), run.end());
        }
        std::vector<int64_t> expected(static_cast<size_t>(columns));
        std::iota(expected.begin(), expected.end(), begin);
        ASSERT_EQ(columns_seen, expected);
      }
    }
  }
}

TEST(TensorBoxes, OneForWholeRowsMatricesAndVectors) {
  EXPECT_EQ(tensor_boxes({9}, {2, 5, 0, 1}).size(), 1U);
  EXPECT_EQ(tensor_boxes({9, 8}, {2, 5, 3, 4}).size(), 1U);
  EXPECT_EQ(tensor_boxes({9, 8, 7, 6}, {2, 5, 0, 8 * 7 * 6}).size(), 1U);
  EXPECT_EQ(tensor_boxes({9, 8}, {2, 0, 0, 8}).size(), 0U);
}

}  // namespace
}  // namespace trident
