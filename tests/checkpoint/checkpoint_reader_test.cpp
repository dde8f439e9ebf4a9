#include "checkpoint/checkpoint_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/file_hash.h"
#include "tests/checkpoint/expect_exact.h"
#include "tests/checkpoint/split_checkpoint.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

namespace fs = std::filesystem;
using test::ScratchDir;
using ::testing::HasSubstr;
using testing::random_splitting;
using testing::small_tensors;
using testing::SplitCheckpoint;
using testing::Splitting;
using testing::wrong_elements;

/// What opening and reading everything says; "" where it succeeds.
std::string refusal(const fs::path& folder) {
  try {
    CheckpointReader reader(folder);
    for (int tensor = 0; tensor < std::ssize(reader.manifest().tensors); ++tensor) {
      const LogicalBlock whole = whole_block(reader.manifest().tensors[static_cast<size_t>(tensor)].shape);
      std::vector<double> values(static_cast<size_t>(whole.elements()));
      for (int kind = 0; kind < reader.manifest().states(); ++kind)
        reader.read(static_cast<StateKind>(kind), tensor, whole, std::span(values));
    }
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

LogicalBlock random_block(const Shape& shape, std::mt19937& random) {
  const LogicalBlock whole = whole_block(shape);
  const auto range = [&](int64_t count) {
    const auto begin = static_cast<int64_t>(random() % static_cast<uint64_t>(count + 1));
    return std::pair(begin, static_cast<int64_t>(random() % static_cast<uint64_t>(count - begin + 1)));
  };
  const auto [row0, rows] = range(whole.rows);
  const auto [column0, columns] = range(whole.columns);
  return {row0, rows, column0, columns};
}

TEST(CheckpointSceptic, T8AnyRectangleOfAnySplittingIsBitEqual) {
  std::mt19937 random(8);
  const int rounds = std::getenv("TRIDENT_LONG_TESTS") != nullptr ? 300 : 20;
  for (int round = 0; round < rounds; ++round) {
    const ScratchDir dir;
    SplitCheckpoint saved{small_tensors()};
    saved.dtype = round % 2 == 0 ? DType::fp32 : DType::fp64;
    saved.moments = round % 5 != 4;
    const auto ways = [&] { return static_cast<int>(1 + random() % 3); };
    const Splitting splitting = random_splitting(saved.tensors, ways(), ways(), ways(), random);
    CheckpointReader reader(saved.save(dir / "checkpoints", splitting));
    ASSERT_EQ(wrong_elements(reader, saved), 0);
    for (size_t tensor = 0; tensor < saved.tensors.size(); ++tensor) {
      for (int i = 0; i < 8; ++i) {
        const LogicalBlock block = random_block(saved.tensors[tensor].shape, random);
        const auto kind = static_cast<StateKind>(random() % (saved.moments ? 3U : 1U));
        ASSERT_EQ(saved.dtype == DType::fp32 ? wrong_elements<float>(reader, saved, kind, tensor, block)
                                             : wrong_elements<double>(reader, saved, kind, tensor, block),
                  0)
            << saved.tensors[tensor].name << " rows " << block.row0 << "+" << block.rows << " columns " << block.column0
            << "+" << block.columns;
      }
    }
  }
}

TEST(CheckpointSceptic, T22SpecialValuesSurviveLoading) {
  std::mt19937 random(22);
  for (const DType dtype : {DType::fp32, DType::fp64}) {
    const ScratchDir dir;
    SplitCheckpoint saved{{{"special", {16, 16}}}};
    saved.dtype = dtype;
    CheckpointReader reader(saved.save(dir / "checkpoints", random_splitting(saved.tensors, 1, 2, 2, random)));
    std::vector<double> values(256);
    reader.read(StateKind::exp_avg, 0, {0, 16, 0, 16}, std::span(values));
    EXPECT_TRUE(std::isnan(values[5]));
    EXPECT_TRUE(std::isnan(values[21]) && std::signbit(values[21]));
    EXPECT_EQ(values[37], std::numeric_limits<double>::infinity());
    EXPECT_EQ(values[53], -std::numeric_limits<double>::infinity());
    EXPECT_TRUE(values[69] == 0 && !std::signbit(values[69]));
    EXPECT_TRUE(values[85] == 0 && std::signbit(values[85]));
    EXPECT_NE(values[101], 0);
    EXPECT_EQ(values[117], -values[101]);
    EXPECT_EQ(wrong_elements(reader, saved), 0);
  }
}

TEST(CheckpointReader, ConvertsBetweenSingleAndDouble) {
  std::mt19937 random(3);
  const ScratchDir dir;
  // More than is converted at once.
  SplitCheckpoint saved{{{"long", {5, 4000}}}};
  CheckpointReader single(saved.save(dir / "single", random_splitting(saved.tensors, 1, 2, 3, random)));
  std::vector<float> narrow(20000);
  std::vector<double> wide(narrow.size());
  single.read(StateKind::master, 0, {0, 5, 0, 4000}, std::span(narrow));
  single.read(StateKind::master, 0, {0, 5, 0, 4000}, std::span(wide));
  for (size_t i = 0; i < wide.size(); ++i)
    ASSERT_TRUE(wide[i] == static_cast<double>(narrow[i]) || (std::isnan(wide[i]) && std::isnan(narrow[i]))) << i;

  saved.dtype = DType::fp64;
  CheckpointReader twice(saved.save(dir / "double", random_splitting(saved.tensors, 1, 3, 1, random)));
  twice.read(StateKind::exp_avg_sq, 0, {1, 3, 7, 3900}, std::span(wide).first(11700));
  twice.read(StateKind::exp_avg_sq, 0, {1, 3, 7, 3900}, std::span(narrow).first(11700));
  for (size_t i = 0; i < 11700; ++i) {
    const auto expected = static_cast<float>(wide[i]);
    ASSERT_TRUE(narrow[i] == expected || (std::isnan(narrow[i]) && std::isnan(expected))) << i;
  }
}

TEST(CheckpointReader, EveryBlockIsReadOnceInOrder) {
  std::mt19937 random(4);
  const ScratchDir dir;
  // Columns of four ranks, in three states: a row of it lies in up to twelve places.
  SplitCheckpoint saved{{{"a", {1500, 800}}, {"b", {1000, 1000}}, {"c", {100}}}};
  Splitting splitting;
  splitting.ranks.resize(4);
  for (int64_t rank = 0; rank < 4; ++rank) {
    splitting.ranks[static_cast<size_t>(rank)] = {
        {{0, {0, 1500, rank * 200, 200}, 0}, {1, {0, 1000, rank * 250, 250}, 300000}}, 550000};
  }
  splitting.ranks.push_back({{{2, {0, 100, 0, 1}, 0}}, 100});
  CheckpointReader reader(saved.save(dir / "checkpoints", splitting));
  int64_t blocks = 0;
  for (const RankFile& file : reader.manifest().rank_files) blocks += hash_blocks(file.bytes);
  std::vector<float> values(800 * 64);
  for (int tensor = 0; tensor < 3; ++tensor) {
    const LogicalBlock whole = whole_block(saved.tensors[static_cast<size_t>(tensor)].shape);
    for (int64_t row = 0; row < whole.rows; row += 50) {
      for (int kind = 0; kind < kStateKinds; ++kind) {
        const LogicalBlock rows{row, std::min<int64_t>(50, whole.rows - row), 0, whole.columns};
        ASSERT_EQ(wrong_elements<float>(reader, saved, static_cast<StateKind>(kind), static_cast<size_t>(tensor), rows),
                  0);
      }
    }
  }
  EXPECT_EQ(reader.blocks_read(), blocks);
}

TEST(CheckpointReader, MoreRankFilesThanItKeepsOpen) {
  const ScratchDir dir;
  SplitCheckpoint saved{{{"a", {300, 3}}}};
  Splitting splitting;
  for (int64_t row = 0; row < 300; ++row) splitting.ranks.push_back({{{0, {row, 1, 0, 3}, 0}}, 3});
  CheckpointReader reader(saved.save(dir / "checkpoints", splitting));
  EXPECT_EQ(wrong_elements(reader, saved), 0);
  const auto open_files = std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  EXPECT_LT(open_files, 150);
}

TEST(CheckpointReader, WhatIsNotThereIsSaid) {
  std::mt19937 random(5);
  const ScratchDir dir;
  SplitCheckpoint saved{small_tensors()};
  saved.moments = false;
  CheckpointReader reader(saved.save(dir / "checkpoints", random_splitting(saved.tensors, 1, 1, 2, random)));
  EXPECT_EQ(reader.find("scalar"), 6);
  EXPECT_EQ(reader.find("scala"), -1);
  EXPECT_EQ(reader.extra_file("config.resolved.yaml"), "run: {seed: 1}\n");
  EXPECT_THROW(static_cast<void>(reader.extra_file("tokenizer.json")), Error);
  std::vector<float> value(1);
  try {
    reader.read(StateKind::exp_avg, 6, {0, 1, 0, 1}, std::span(value));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input_missing);
    EXPECT_THAT(error.what(), HasSubstr("weights alone"));
  }
  EXPECT_THROW(CheckpointReader(dir / "nowhere"), Error);
  fs::create_directory(dir / "empty");
  try {
    const CheckpointReader none(dir / "empty");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input_missing);
  }
}

TEST(CheckpointReader, DamageNamesFileTensorAndBlock) {
  const ScratchDir dir;
  SplitCheckpoint saved{{{"first", {1200, 1000}}, {"second", {1000, 1000}}}};
  const Splitting splitting{{{{{0, {0, 1200, 0, 1000}, 0}, {1, {0, 1000, 0, 1000}, 1200000}}, 2200000}}};
  const fs::path folder = saved.save(dir / "checkpoints", splitting);
  const int64_t byte = CheckpointReader(folder).manifest().rank_files[0].payload[0] + 4 * 2000000;
  {
    std::fstream file(folder / "rank_00000.h5", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(byte);
    file.put(file.peek() == 'x' ? 'y' : 'x');
  }
  CheckpointReader reader(folder);
  EXPECT_EQ(wrong_elements<float>(reader, saved, StateKind::master, 0, {0, 1000, 0, 1000}), 0);
  std::vector<float> values(1000000);
  try {
    reader.read(StateKind::master, 1, {0, 1000, 0, 1000}, std::span(values));
    ADD_FAILURE();
  } catch (const DamagedCheckpoint& damage) {
    EXPECT_EQ(damage.code(), ErrorCode::bad_data);
    EXPECT_EQ(damage.problem_found().file, "rank_00000.h5");
    EXPECT_EQ(damage.problem_found().tensor, "second");
    EXPECT_EQ(damage.problem_found().block, byte / kHashBlockBytes);
    EXPECT_THAT(damage.what(), HasSubstr((folder.string() + ": rank_00000.h5, block 1, second: the block's hash is ")));
  }
}

/// A small checkpoint of four ranks, to be damaged.
struct SmallCheckpoint {
  SmallCheckpoint() {
    std::mt19937 random(14);
    folder = saved.save(dir / "checkpoints", random_splitting(saved.tensors, 1, 2, 2, random));
  }
  ScratchDir dir;
  SplitCheckpoint saved{small_tensors()};
  fs::path folder;
};

TEST(CheckpointSceptic, T14LinksPipesAndFoldersAreRefusedAndNothingHangs) {
  const SmallCheckpoint small;
  const auto& [dir, saved, folder] = small;
  for (const char* name : {"rank_00001.h5", "rank_00001.sum", "config.resolved.yaml", "MANIFEST.json"}) {
    fs::rename(folder / name, dir / "aside");
    EXPECT_THAT(refusal(folder), HasSubstr(name));
    fs::create_symlink(dir / "aside", folder / name);
    EXPECT_THAT(refusal(folder), HasSubstr(name));
    fs::remove(folder / name);
    ASSERT_EQ(mkfifo((folder / name).c_str(), 0600), 0);
    EXPECT_THAT(refusal(folder), HasSubstr(name));
    fs::remove(folder / name);
    fs::create_directory(folder / name);
    EXPECT_THAT(refusal(folder), HasSubstr(name));
    fs::remove(folder / name);
    fs::rename(dir / "aside", folder / name);
    EXPECT_EQ(refusal(folder), "");
  }
  fs::create_directory_symlink(folder, dir / "link");
  EXPECT_THAT(refusal(dir / "link"), HasSubstr("a link or a file"));
  EXPECT_THAT(refusal(dir / "link/"), HasSubstr("a link or a file"));
  EXPECT_EQ(refusal(folder / ""), "");
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal(dir / "pipe"), HasSubstr("a link or a file"));
}

TEST(CheckpointSceptic, T16TheViewNeverStandsInForAFile) {
  const SmallCheckpoint small;
  const auto& [dir, saved, folder] = small;
  const fs::path name = "rank_00002.h5";
  fs::rename(folder / name, dir / "aside");
  // HDF5 would look for the sources of a virtual dataset in the working directory too.
  const fs::path before = fs::current_path();
  fs::copy(dir / "aside", dir / name);
  fs::current_path(dir.path());
  EXPECT_THAT(refusal(folder), HasSubstr("rank_00002.h5: is not there"));
  fs::current_path(before);
  // Another rank's file of the same size.
  std::string other = test::read_file(dir / "aside");
  other[other.size() / 2] = static_cast<char>(other[other.size() / 2] + 1);
  test::write_file(folder / name, other);
  EXPECT_THAT(refusal(folder), HasSubstr("rank_00002.h5, block 0"));
  fs::rename(dir / "aside", folder / name);
  fs::remove(folder / "master.h5");
  EXPECT_EQ(refusal(folder), "");
}

}  // namespace
}  // namespace trident
