#include "checkpoint/rank_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "checkpoint/hdf5_handle.h"
#include "core/error.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using hdf5::Handle;
using test::ScratchDir;
using testing::SampleCheckpoint;

constexpr std::array kKinds = {StateKind::master, StateKind::exp_avg, StateKind::exp_avg_sq};

std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Handle open_file(const std::filesystem::path& path) {
  return {H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, "open " + path.string()};
}

int64_t number_attribute(const Handle& file, const char* name) {
  const Handle attribute(H5Aopen(file.get(), name, H5P_DEFAULT), H5Aclose, "open an attribute");
  int64_t value = -1;
  hdf5::require(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), "read an attribute");
  return value;
}

std::string text_attribute(const Handle& file, const char* name) {
  const Handle attribute(H5Aopen(file.get(), name, H5P_DEFAULT), H5Aclose, "open an attribute");
  const Handle type(H5Aget_type(attribute.get()), H5Tclose, "get a type");
  std::string value(H5Tget_size(type.get()), '\0');
  hdf5::require(H5Aread(attribute.get(), type.get(), value.data()), "read an attribute");
  return value.substr(0, value.find('\0'));
}

/// A one-dimensional dataset in a type of fields or numbers of `size` bytes.
std::string read_dataset(const Handle& file, const std::string& name, hid_t type, size_t size) {
  const Handle dataset(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT), H5Dclose, "open " + name);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose, "get a dataspace");
  std::string bytes(static_cast<size_t>(H5Sget_simple_extent_npoints(space.get())) * size, '\0');
  hdf5::require(H5Dread(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), "read " + name);
  return bytes;
}

class RankFiles : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, RankFiles, ::testing::Values(DType::fp32, DType::fp64),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST_P(RankFiles, ArraysLieWhereTheResultSaysAndHdf5ReadsThem) {
  const ScratchDir dir;
  const SampleCheckpoint sample(GetParam());
  const Manifest manifest = sample.write(posix_file_system(), dir.path());
  const hid_t type = GetParam() == DType::fp32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
  for (int rank = 0; rank < SampleCheckpoint::kRanks; ++rank) {
    const RankFile& file = manifest.rank_files[static_cast<size_t>(rank)];
    const std::string bytes = test::read_file(dir / file.name);
    ASSERT_EQ(std::ssize(bytes), file.bytes);
    const hdf5::Session session;
    const Handle hdf5 = open_file(dir / file.name);
    for (const StateKind kind : kKinds) {
      const std::string expected = as_text(sample.array_bytes(rank, kind));
      const int64_t begin = file.payload[static_cast<size_t>(kind)];
      EXPECT_EQ(begin % 4096, 0);
      EXPECT_EQ(begin == 0, expected.empty());
      EXPECT_EQ(bytes.substr(static_cast<size_t>(begin), expected.size()), expected);
      EXPECT_EQ(read_dataset(hdf5, "/optim/" + std::string(to_string(kind)), type, size_of(GetParam())), expected);
    }
  }
}

TEST_P(RankFiles, BlockHashesAreThoseOfTheFile) {
  const ScratchDir dir;
  const Manifest manifest = SampleCheckpoint(GetParam()).write(posix_file_system(), dir.path());
  for (const RankFile& file : manifest.rank_files) {
    const std::string bytes = test::read_file(dir / file.name);
    const std::string sum = test::read_file(dir / block_hash_file_name(file.name));
    BlockHasher hasher;
    hasher.update(std::as_bytes(std::span(bytes)));
    const BlockHashes hashes = hasher.finish();
    EXPECT_EQ(decode_block_hashes(std::as_bytes(std::span(sum)), "sum"), hashes);
    EXPECT_EQ(file.hash, hashes.file_hash());
  }
}

TEST(RankFile, DescribesItself) {
  const ScratchDir dir;
  const SampleCheckpoint sample;
  (void)sample.write(posix_file_system(), dir.path());
  const hdf5::Session session;
  const Handle file = open_file(dir / "rank_00002.h5");
  EXPECT_EQ(text_attribute(file, "format"), "trident checkpoint, one rank");
  EXPECT_EQ(number_attribute(file, "version"), Manifest::kFormat);
  EXPECT_EQ(text_attribute(file, "run_id"), "sample");
  EXPECT_EQ(number_attribute(file, "step"), 100);
  EXPECT_EQ(number_attribute(file, "rank"), 2);
  EXPECT_EQ(number_attribute(file, "dp_rank"), 2);
  EXPECT_EQ(number_attribute(file, "tp_rank"), 0);
  EXPECT_EQ(number_attribute(file, "pp_rank"), 0);

  using Row = std::array<int64_t, 6>;
  const std::array<const char*, 6> fields = {"offset", "columns", "rows", "column0", "row0", "tensor"};
  const Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Row)), H5Tclose, "make a type");
  for (size_t i = 0; i < fields.size(); ++i) H5Tinsert(type.get(), fields[i], i * 8, H5T_NATIVE_INT64);
  const std::string bytes = read_dataset(file, "/segments", type.get(), sizeof(Row));
  std::vector<Segment> segments;
  for (size_t at = 0; at < bytes.size(); at += sizeof(Row)) {
    Row row;
    std::memcpy(row.data(), bytes.data() + at, sizeof row);
    segments.push_back({static_cast<int32_t>(row[5]), {row[4], row[2], row[3], row[1]}, row[0]});
  }
  EXPECT_EQ(segments, sample.header(2).segments);

  const Handle name(H5Tcopy(H5T_C_S1), H5Tclose, "make a type");
  H5Tset_size(name.get(), 64);
  H5Tset_cset(name.get(), H5T_CSET_UTF8);
  const Handle names(H5Tcreate(H5T_COMPOUND, 64), H5Tclose, "make a type");
  H5Tinsert(names.get(), "name", 0, name.get());
  const std::string tensors = read_dataset(file, "/tensors", names.get(), 64);
  EXPECT_STREQ(tensors.data() + size_t{64} * 4, "layers.10.kernel");
}

TEST(RankFile, WeightsAlone) {
  const ScratchDir dir;
  const SampleCheckpoint sample(DType::fp32, false);
  const Manifest manifest = sample.write(posix_file_system(), dir.path());
  EXPECT_GT(manifest.rank_files[0].payload[0], 0);
  EXPECT_EQ(manifest.rank_files[0].payload[1], 0);
  const hdf5::Session session;
  const Handle file = open_file(dir / "rank_00000.h5");
  EXPECT_GT(H5Lexists(file.get(), "/optim/master", H5P_DEFAULT), 0);
  EXPECT_EQ(H5Lexists(file.get(), "/optim/exp_avg", H5P_DEFAULT), 0);
}

// Blocks of many sizes, a source that gives less than it is asked for, and a length that is no multiple of anything.
TEST(RankFile, LongArraysComeInPieces) {
  const ScratchDir dir;
  std::vector<float> values(5'000'003);
  std::iota(values.begin(), values.end(), 1.0F);
  RankFileHeader header;
  header.elements = std::ssize(values);
  header.moments = false;
  header.tensors = {{"w", {header.elements}}};
  header.segments = {{0, whole_block({header.elements}), 0}};
  int64_t next = 0, pieces = 0;
  const RankFile file =
      write_rank_file(posix_file_system(), dir.path(), header, [&](StateKind kind, int64_t begin, int64_t count) {
        EXPECT_EQ(kind, StateKind::master);
        EXPECT_EQ(begin, next);
        EXPECT_LE(count, kHashBlockBytes);
        const int64_t given = ++pieces % 3 == 0 ? std::min<int64_t>(count, 4096) : count;
        next += given;
        return std::as_bytes(std::span(values)).subspan(static_cast<size_t>(begin), static_cast<size_t>(given));
      });
  const std::string bytes = test::read_file(dir / file.name);
  EXPECT_EQ(std::memcmp(bytes.data() + file.payload[0], values.data(), values.size() * 4), 0);
  BlockHasher hasher;
  hasher.update(std::as_bytes(std::span(bytes)));
  EXPECT_EQ(file.hash, hasher.finish().file_hash());
}

TEST(RankFile, SameStateSameBytes) {
  const ScratchDir dir;
  std::filesystem::create_directory(dir / "a");
  std::filesystem::create_directory(dir / "b");
  const Manifest first = SampleCheckpoint().write(posix_file_system(), dir / "a");
  // Other content on the heap, for what might be left uninitialised.
  std::vector<std::vector<char>> heap;
  for (size_t size = 1; size < 5000; size += 7) heap.emplace_back(size, '\x5a');
  heap.clear();
  EXPECT_EQ(SampleCheckpoint().write(posix_file_system(), dir / "b"), first);
}

TEST(RankFile, HoldsNoTimes) {
  const ScratchDir dir;
  (void)SampleCheckpoint().write(posix_file_system(), dir.path());
  const hdf5::Session session;
  const Handle file = open_file(dir / "rank_00000.h5");
  const auto check = [](hid_t /*object*/, const char* name, const H5O_info_t* info, void* count) -> herr_t {
    EXPECT_EQ(info->mtime, 0) << name;
    EXPECT_EQ(info->btime, 0) << name;
    ++*static_cast<int*>(count);
    return 0;
  };
  int objects = 0;
  H5Ovisit2(file.get(), H5_INDEX_NAME, H5_ITER_INC, check, &objects, H5O_INFO_TIME);
  EXPECT_EQ(objects, 7);
}

TEST(RankFile, RefusesANameThatIsTaken) {
  const ScratchDir dir;
  (void)SampleCheckpoint().write(posix_file_system(), dir.path());
  EXPECT_THROW((void)SampleCheckpoint().write(posix_file_system(), dir.path()), Error);
}

TEST(RankFile, Names) {
  EXPECT_EQ(rank_file_name(3), "rank_00003.h5");
  EXPECT_EQ(rank_file_name(123456), "rank_123456.h5");
  EXPECT_EQ(block_hash_file_name("rank_00003.h5"), "rank_00003.sum");
}

TEST(CheckpointSceptic, T22SpecialValuesSurviveBitForBit) {
  const ScratchDir dir;
  const SampleCheckpoint sample;
  const Manifest manifest = sample.write(posix_file_system(), dir.path());
  const RankFile& file = manifest.rank_files[1];
  const std::string bytes = test::read_file(dir / file.name);
  int specials = 0;
  for (const auto& [tensor, block, offset] : file.segments) {
    const int64_t columns = whole_block(manifest.tensors[static_cast<size_t>(tensor)].shape).columns;
    for (int64_t i = 0; i < block.elements(); ++i) {
      const int64_t element = (block.row0 + i / block.columns) * columns + block.column0 + i % block.columns;
      uint32_t bits = 0;
      std::memcpy(&bits, bytes.data() + file.payload[0] + (offset + i) * 4, 4);
      ASSERT_EQ(bits, sample.bits(StateKind::master, tensor, element));
      const uint32_t exponent = bits & 0x7f800000U;
      specials += exponent == 0 || exponent == 0x7f800000U ? 1 : 0;
    }
  }
  EXPECT_GT(specials, 4);
}

}  // namespace
}  // namespace trident
