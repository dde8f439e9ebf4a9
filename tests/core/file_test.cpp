#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  std::string contents(const fs::path& path) {
    const MappedFile file(path);
    return {reinterpret_cast<const char*>(file.data()), static_cast<size_t>(file.size())};
  }
  test::ScratchDir folder;
};

TEST_F(FileTest, ACommittedFileIsWholeAndReplacesTheOldOne) {
  write_file_atomically(folder / "a", "old");
  const std::string large(3 << 20, 'x');
  AtomicFile file(folder / "a");
  file.write("head");
  file.write(large);
  EXPECT_EQ(contents(folder / "a"), "old");
  file.commit();
  EXPECT_EQ(contents(folder / "a"), "head" + large);
}

TEST_F(FileTest, AnAbandonedFileLeavesNothing) {
  { AtomicFile(folder / "b").write("half"); }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST_F(FileTest, MissingFoldersAndFilesAreNamed) {
  EXPECT_THROW(AtomicFile(folder / "none" / "c"), Error);
  try {
    const MappedFile file(folder / "nothing");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input_missing);
    EXPECT_NE(std::string(error.what()).find("nothing"), std::string::npos);
  }
}

TEST_F(FileTest, FoldersAndPipesAreRefusedWithoutHanging) {
  EXPECT_THROW(MappedFile{folder.path()}, Error);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(MappedFile{folder / "pipe"}, Error);
}

TEST_F(FileTest, EmptyFilesAreFineAndMovesEmptyTheSource) {
  write_file_atomically(folder / "e", "");
  EXPECT_EQ(MappedFile(folder / "e").size(), 0);
  write_file_atomically(folder / "f", "abc");
  MappedFile a(folder / "f");
  const MappedFile b(std::move(a));
  EXPECT_EQ(b.size(), 3);
  EXPECT_EQ(a.size(), 0);  // NOLINT(bugprone-use-after-move): what is tested
}

}  // namespace
}  // namespace trident
