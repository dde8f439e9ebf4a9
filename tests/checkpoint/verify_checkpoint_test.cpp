#include "checkpoint/verify_checkpoint.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/file_hash.h"
#include "tests/checkpoint/expect_exact.h"
#include "tests/checkpoint/split_checkpoint.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

namespace fs = std::filesystem;
using Kind = CheckpointVerdict::Kind;
using test::read_file;
using test::ScratchDir;
using test::write_file;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::random_splitting;
using ::testing::SizeIs;
using testing::small_tensors;
using testing::SplitCheckpoint;
using testing::Splitting;
using testing::wrong_elements;

bool long_tests() { return std::getenv("TRIDENT_LONG_TESTS") != nullptr; }

/// A small checkpoint of two ranks, to be damaged.
class SmallCheckpoint {
 public:
  explicit SmallCheckpoint(const ScratchDir& dir, uint64_t seed = 1, int64_t step = 100,
                           const std::string& run_id = "run") {
    saved_.seed = seed;
    saved_.step = step;
    saved_.run_id = run_id;
    folder_ = saved_.save(dir / ("checkpoints" + std::to_string(seed)), splitting());
  }
  const fs::path& folder() const { return folder_; }
  const SplitCheckpoint& saved() const { return saved_; }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  Kind kind() const { return verify_checkpoint(folder_).kind; }

  /// Flips bits of one byte where it lies.
  void flip(const std::string& name, int64_t byte, uint8_t mask) const {
    const int file = open((folder_ / name).c_str(), O_RDWR | O_CLOEXEC);
    uint8_t value = 0;
    EXPECT_EQ(pread(file, &value, 1, byte), 1);
    value ^= mask;
    EXPECT_EQ(pwrite(file, &value, 1, byte), 1);
    close(file);
  }

 private:
  /// Rows of every tensor in both files, which have the same size.
  static Splitting splitting() {
    Splitting result;
    result.ranks.resize(2);
    int32_t tensor = 0;
    for (const LogicalTensor& logical : small_tensors()) {
      const LogicalBlock whole = whole_block(logical.shape);
      // Single rows go to both by turns, so that both have as many segments.
      const int64_t upper = whole.rows == 1 ? tensor % 2 : whole.rows / 2;
      append(result.ranks[0], {tensor, {0, upper, 0, whole.columns}});
      append(result.ranks[1], {tensor, {upper, whole.rows - upper, 0, whole.columns}});
      ++tensor;
    }
    for (auto& rank : result.ranks) rank.elements = 300;
    return result;
  }
  static void append(Splitting::Rank& rank, Segment segment) {
    if (segment.block.elements() == 0) return;
    segment.offset = rank.elements;
    rank.segments.push_back(segment);
    rank.elements += segment.block.elements();
  }

  SplitCheckpoint saved_{small_tensors()};
  fs::path folder_;
};

/// Never wrong: reading gives what was saved or throws.
void expect_right_or_refused(const SmallCheckpoint& small, bool must_refuse, const std::string& what) {
  try {
    CheckpointReader reader(small.folder());
    EXPECT_EQ(wrong_elements(reader, small.saved()), 0) << what;
    EXPECT_FALSE(must_refuse) << what;
  } catch (const Error&) {
    // refused
  }
}

TEST(VerifyCheckpoint, IntactOnes) {
  std::mt19937 random(1);
  for (const DType dtype : {DType::fp32, DType::fp64}) {
    for (const bool moments : {true, false}) {
      const ScratchDir dir;
      SplitCheckpoint saved{small_tensors()};
      saved.dtype = dtype;
      saved.moments = moments;
      const fs::path folder = saved.save(dir / "checkpoints", random_splitting(saved.tensors, 2, 2, 2, random));
      const CheckpointVerdict verdict = verify_checkpoint(folder);
      EXPECT_EQ(verdict.kind, Kind::intact);
      EXPECT_THAT(verdict.problems, IsEmpty());
      EXPECT_THAT(verdict.strangers, IsEmpty());
    }
  }
}

TEST(VerifyCheckpoint, WhatItSaysOfWholeFiles) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  write_file(small.folder() / "notes.txt", "hello");
  EXPECT_EQ(small.kind(), Kind::intact);
  EXPECT_THAT(verify_checkpoint(small.folder()).strangers, ElementsAre("notes.txt"));
  fs::remove(small.folder() / "master.h5");
  EXPECT_EQ(small.kind(), Kind::intact);
  fs::remove(small.folder() / "config.resolved.yaml");
  EXPECT_EQ(small.kind(), Kind::incomplete);
  fs::remove(small.folder() / "rank_00001.sum");
  const CheckpointVerdict verdict = verify_checkpoint(small.folder());
  EXPECT_EQ(verdict.kind, Kind::incomplete);
  EXPECT_THAT(verdict.problems, ElementsAre(Field(&CheckpointProblem::file, "rank_00001.sum"),
                                            Field(&CheckpointProblem::file, "config.resolved.yaml")));
  fs::remove(small.folder() / "MANIFEST.json");
  EXPECT_EQ(small.kind(), Kind::incomplete);
  EXPECT_THROW(static_cast<void>(verify_checkpoint(small.folder() / "nowhere")), Error);
}

TEST(VerifyCheckpoint, NothingHangsOnPipes) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  for (const std::string& name : small.files()) {
    const std::string bytes = read_file(small.folder() / name);
    fs::remove(small.folder() / name);
    ASSERT_EQ(mkfifo((small.folder() / name).c_str(), 0600), 0);
    EXPECT_EQ(small.kind(), Kind::corrupt) << name;
    fs::remove(small.folder() / name);
    write_file(small.folder() / name, bytes);
    EXPECT_EQ(small.kind(), Kind::intact) << name;
  }
}

TEST(VerifyCheckpoint, ADamagedBlockIsNamedWithTheTensorThatChanged) {
  const ScratchDir dir;
  SplitCheckpoint saved{{{"a", {1200, 1000}}, {"b", {1000, 500}}, {"c", {1000, 500}}}};
  const Splitting splitting{
      {{{{0, {0, 1200, 0, 1000}, 0}, {1, {0, 1000, 0, 500}, 1200000}, {2, {0, 1000, 0, 500}, 1700000}}, 2200000}}};
  const fs::path folder = saved.save(dir / "checkpoints", splitting);
  const int64_t payload = CheckpointReader(folder).manifest().rank_files[0].payload[1];
  const int64_t byte = payload + 4 * 1700000;  // the first of c's
  std::fstream file(folder / "rank_00000.h5", std::ios::in | std::ios::out | std::ios::binary);
  for (const int64_t at : {byte - 1, byte}) {
    file.seekg(at);
    const int value = file.get();
    file.seekp(at);
    file.put(static_cast<char>(value ^ 1));
  }
  file.close();
  const CheckpointVerdict verdict = verify_checkpoint(folder);
  EXPECT_EQ(verdict.kind, Kind::corrupt);
  EXPECT_THAT(
      verdict.problems,
      ElementsAre(AllOf(Field(&CheckpointProblem::file, "rank_00000.h5"), Field(&CheckpointProblem::tensor, "b"),
                        Field(&CheckpointProblem::block, byte / kHashBlockBytes),
                        Field(&CheckpointProblem::detail, HasSubstr("exp_avg of b and 1 more tensors")))));
}

TEST(VerifyCheckpoint, ALostSumFileDoesNotHideDamage) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  const int64_t payload = CheckpointReader(small.folder()).manifest().rank_files[1].payload[2];
  small.flip("rank_00001.sum", 20, 1);
  EXPECT_THAT(verify_checkpoint(small.folder()).problems, SizeIs(1));
  small.flip("rank_00001.h5", payload, 1);
  EXPECT_THAT(verify_checkpoint(small.folder()).problems,
              ElementsAre(Field(&CheckpointProblem::file, "rank_00001.sum"),
                          AllOf(Field(&CheckpointProblem::file, "rank_00001.h5"),
                                Field(&CheckpointProblem::tensor, "embedding.weight"),
                                Field(&CheckpointProblem::detail, HasSubstr("exp_avg_sq of embedding.weight")))));
}

TEST(CheckpointSceptic, T1TruncatedAnywhereIsFound) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  for (const std::string& name : small.files()) {
    const std::string bytes = read_file(small.folder() / name);
    const size_t stride = long_tests() || bytes.size() < 6000 ? 1 : 97;
    for (size_t size = 0; size < bytes.size(); size += stride) {
      fs::resize_file(small.folder() / name, size);
      const std::string what = name + " of " + std::to_string(size) + " bytes";
      ASSERT_NE(small.kind(), Kind::intact) << what;
      expect_right_or_refused(small, name != "master.h5", what);
      write_file(small.folder() / name, bytes);
    }
  }
  EXPECT_EQ(small.kind(), Kind::intact);
}

/// Flips one bit and expects one problem in that file.
CheckpointProblem problem_after_flip(const SmallCheckpoint& small, const std::string& name, int64_t byte, int bit) {
  small.flip(name, byte, static_cast<uint8_t>(1 << bit));
  const CheckpointVerdict verdict = verify_checkpoint(small.folder());
  const std::string what = name + ", byte " + std::to_string(byte) + ", bit " + std::to_string(bit);
  EXPECT_EQ(verdict.kind, Kind::corrupt) << what;
  EXPECT_THAT(verdict.problems, SizeIs(1)) << what;
  if (byte % 16 == 0) expect_right_or_refused(small, name != "master.h5" && name != "config.resolved.yaml", what);
  small.flip(name, byte, static_cast<uint8_t>(1 << bit));
  if (verdict.problems.size() != 1) return {};
  EXPECT_EQ(verdict.problems[0].file, name) << what;
  return verdict.problems[0];
}

TEST(CheckpointSceptic, T2EveryFlippedBitIsFoundAndNamed) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  const Manifest manifest = CheckpointReader(small.folder()).manifest();
  for (const std::string& name : small.files()) {
    const auto bytes = static_cast<int64_t>(fs::file_size(small.folder() / name));
    const bool every_bit = long_tests() || !name.ends_with(".h5");
    for (int64_t byte = 0; byte < bytes; byte += every_bit ? 1 : 5) {
      for (int bit = every_bit ? 0 : static_cast<int>(byte % 8); bit < 8; bit += every_bit ? 1 : 8) {
        const CheckpointProblem problem = problem_after_flip(small, name, byte, bit);
        if (!name.starts_with("rank_") || !name.ends_with(".h5")) continue;
        const RankFile& file = manifest.rank_files[name == "rank_00000.h5" ? 0 : 1];
        bool payload = false;
        for (const int64_t array : file.payload)
          for (const Segment& segment : file.segments)
            payload = payload || (byte >= array + 4 * segment.offset &&
                                  byte < array + 4 * (segment.offset + segment.block.elements()));
        ASSERT_EQ(problem.block, 0);
        ASSERT_EQ(problem.tensor.empty(), !payload) << name << ", byte " << byte;
        ASSERT_THAT(problem.detail, HasSubstr(payload ? "damaged elements" : "metadata or padding"));
      }
    }
  }
  EXPECT_EQ(small.kind(), Kind::intact);
}

TEST(CheckpointSceptic, T3ZerosForOnesAndOnesForZeros) {
  // Changes that Fletcher's sum does not see.
  const ScratchDir dir;
  SplitCheckpoint saved{{{"special", {128}}}};
  const fs::path folder = saved.save(dir / "checkpoints", {{{{{0, {0, 128, 0, 1}, 0}}, 128}}});
  const int64_t payload = CheckpointReader(folder).manifest().rank_files[0].payload[0];
  const std::string bytes = read_file(folder / "rank_00000.h5");
  for (const auto& [element, from, to] : {std::tuple(21, '\xff', '\0'), std::tuple(69, '\0', '\xff')}) {
    const auto at = static_cast<size_t>(payload + int64_t{4} * element);
    ASSERT_EQ(bytes.substr(at, 2), std::string(2, from));
    std::string changed = bytes;
    changed.replace(at, 2, 2, to);
    write_file(folder / "rank_00000.h5", changed);
    EXPECT_EQ(verify_checkpoint(folder).kind, Kind::corrupt);
    CheckpointReader reader(folder);
    EXPECT_THROW(wrong_elements(reader, saved), DamagedCheckpoint);
  }
}

TEST(CheckpointSceptic, T3SwappedBlocks) {
  const ScratchDir dir;
  SplitCheckpoint saved{{{"a", {4000, 1000}}}};
  saved.moments = false;
  const fs::path folder = saved.save(dir / "checkpoints", {{{{{0, {0, 4000, 0, 1000}, 0}}, 4000000}}});
  std::string bytes = read_file(folder / "rank_00000.h5");
  const auto block = static_cast<size_t>(kHashBlockBytes);
  std::swap_ranges(bytes.begin() + kHashBlockBytes, bytes.begin() + 2 * kHashBlockBytes,
                   bytes.begin() + 2 * kHashBlockBytes);
  ASSERT_GT(bytes.size(), 3 * block);
  write_file(folder / "rank_00000.h5", bytes);
  EXPECT_THAT(verify_checkpoint(folder).problems,
              ElementsAre(Field(&CheckpointProblem::block, 1), Field(&CheckpointProblem::block, 2)));
  CheckpointReader reader(folder);
  EXPECT_THROW(wrong_elements(reader, saved), DamagedCheckpoint);
}

TEST(CheckpointSceptic, T3FilesOfAnotherRankStepOrRun) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  const SmallCheckpoint other_values(dir, 2), other_step(dir, 3, 101), other_run(dir, 4, 100, "rum");
  const auto expect_found = [&](const std::string& what) {
    EXPECT_EQ(small.kind(), Kind::corrupt) << what;
    expect_right_or_refused(small, true, what);
  };
  const std::string first = read_file(small.folder() / "rank_00000.h5");
  const std::string second = read_file(small.folder() / "rank_00001.h5");
  ASSERT_EQ(first.size(), second.size());
  write_file(small.folder() / "rank_00000.h5", second);
  write_file(small.folder() / "rank_00001.h5", first);
  expect_found("swapped");
  const std::string first_sum = read_file(small.folder() / "rank_00000.sum");
  const std::string second_sum = read_file(small.folder() / "rank_00001.sum");
  write_file(small.folder() / "rank_00000.sum", second_sum);
  write_file(small.folder() / "rank_00001.sum", first_sum);
  expect_found("swapped with their hashes");
  write_file(small.folder() / "rank_00000.h5", first);
  write_file(small.folder() / "rank_00000.sum", first_sum);
  for (const SmallCheckpoint* other : {&other_values, &other_step, &other_run}) {
    fs::copy_file(other->folder() / "rank_00001.h5", small.folder() / "rank_00001.h5",
                  fs::copy_options::overwrite_existing);
    write_file(small.folder() / "rank_00001.sum", second_sum);
    expect_found("another's file");
    fs::copy_file(other->folder() / "rank_00001.sum", small.folder() / "rank_00001.sum",
                  fs::copy_options::overwrite_existing);
    expect_found("another's file with its hashes");
  }
  write_file(small.folder() / "rank_00001.h5", second);
  write_file(small.folder() / "rank_00001.sum", second_sum);
  EXPECT_EQ(small.kind(), Kind::intact);
}

TEST(CheckpointSceptic, T13TheFirstFormatStillLoads) {
  // Written before the format's first release: TRIDENT_WRITE_GOLDEN=1 build/tests/checkpoint_tests
  // --gtest_filter='*T13TheFirstFormat*'; from then on what is there must load as it is.
  const fs::path folder = fs::path(TRIDENT_SOURCE_DIR) / "tests/checkpoint/golden/checkpoint_v1";
  const SplitCheckpoint saved{small_tensors()};
  if (std::getenv("TRIDENT_WRITE_GOLDEN") != nullptr) {
    const ScratchDir dir;
    std::mt19937 random(13);
    fs::remove_all(folder);
    fs::create_directories(folder.parent_path());
    fs::copy(saved.save(dir / "checkpoints", random_splitting(saved.tensors, 1, 2, 1, random)), folder);
  }
  CheckpointReader reader(folder);
  EXPECT_EQ(reader.manifest().step, 100);
  EXPECT_EQ(reader.manifest().run_id, "run");
  EXPECT_EQ(reader.extra_file("config.resolved.yaml"), "run: {seed: 1}\n");
  EXPECT_EQ(wrong_elements(reader, saved), 0);
  EXPECT_THAT(verify_checkpoint(folder).problems, IsEmpty());
}

TEST(CheckpointSceptic, T13ANewerFormatIsToldFromDamage) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  // The manifest ends with the hash of all before it, 32 digits and three characters.
  std::string text = read_file(small.folder() / "MANIFEST.json");
  const size_t key = text.find("\"min_reader\":1,");
  ASSERT_NE(key, std::string::npos);
  text.replace(key, 15, "\"min_reader\":7,\"unheard\":[],");
  text.resize(text.size() - 35);
  text += to_hex(hash_bytes(text)) + "\"}\n";
  write_file(small.folder() / "MANIFEST.json", text);
  EXPECT_THROW(CheckpointReader reader(small.folder()), NewerFormat);
  const CheckpointVerdict verdict = verify_checkpoint(small.folder());
  EXPECT_EQ(verdict.kind, Kind::newer_format);
  EXPECT_THAT(verdict.problems, ElementsAre(Field(&CheckpointProblem::detail, HasSubstr("format 7"))));
}

TEST(VerifyCheckpoint, ADigestThatNoBlockExplainsIsNamed) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  Manifest manifest = CheckpointReader(small.folder()).manifest();
  manifest.digests[2][1] ^= 1;
  write_file(small.folder() / "MANIFEST.json", encode(manifest));
  const CheckpointVerdict verdict = verify_checkpoint(small.folder());
  EXPECT_EQ(verdict.kind, Kind::corrupt);
  EXPECT_THAT(verdict.problems, ElementsAre(AllOf(Field(&CheckpointProblem::file, "MANIFEST.json"),
                                                  Field(&CheckpointProblem::tensor, manifest.tensors[2].name),
                                                  Field(&CheckpointProblem::detail, HasSubstr("digest of exp_avg")))));
}

TEST(VerifyCheckpoint, AnArrayBetweenElementsIsRefused) {
  const ScratchDir dir;
  const SmallCheckpoint small(dir);
  Manifest manifest = CheckpointReader(small.folder()).manifest();
  manifest.rank_files[0].payload[0] -= 1;
  write_file(small.folder() / "MANIFEST.json", encode(manifest));
  EXPECT_EQ(small.kind(), Kind::corrupt);
  EXPECT_THROW(CheckpointReader reader(small.folder()), DamagedCheckpoint);
}

}  // namespace
}  // namespace trident
