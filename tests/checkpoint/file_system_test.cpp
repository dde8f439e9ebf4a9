#include "checkpoint/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

namespace fs = std::filesystem;
using test::read_file;
using test::ScratchDir;
using ::testing::AllOf;
using ::testing::HasSubstr;

FileSystem& files() { return posix_file_system(); }

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(FileSystem, WritesAtAnyOffset) {
  const ScratchDir dir;
  const auto file = files().create(dir / "a");
  file->reserve(0);
  file->reserve(100);
  file->write(3, bytes_of("def"));
  file->write(0, bytes_of("abc"));
  file->write(6, {});
  file->sync();
  file->close();
  EXPECT_EQ(read_file(dir / "a").substr(0, 6), "abcdef");
}

TEST(FileSystem, WholeFiles) {
  const ScratchDir dir;
  write_file(files(), dir / "a", "text");
  write_file(files(), dir / "empty", "");
  EXPECT_EQ(read_file(dir / "a"), "text");
  EXPECT_EQ(read_file(dir / "empty"), "");
}

TEST(FileSystem, CreatesNothingOverAnother) {
  const ScratchDir dir;
  write_file(files(), dir / "a", "old");
  fs::create_symlink(dir / "elsewhere", dir / "link");
  EXPECT_THAT(refusal([&] { (void)files().create(dir / "a"); }),
              AllOf(HasSubstr((dir / "a").string()), HasSubstr("File exists")));
  EXPECT_THAT(refusal([&] { (void)files().create(dir / "link"); }), HasSubstr("File exists"));
  EXPECT_EQ(read_file(dir / "a"), "old");
  EXPECT_FALSE(fs::exists(dir / "elsewhere"));
}

TEST(FileSystem, RenamesOntoNothing) {
  const ScratchDir dir;
  write_file(files(), dir / "a", "a");
  write_file(files(), dir / "b", "b");
  files().create_directory(dir / "full");
  files().create_directory(dir / "empty");
  write_file(files(), dir / "full" / "c", "c");
  EXPECT_THAT(refusal([&] { files().rename(dir / "a", dir / "b"); }), HasSubstr("File exists"));
  EXPECT_THAT(refusal([&] { files().rename(dir / "full", dir / "empty"); }), HasSubstr("File exists"));
  files().rename(dir / "full", dir / "moved");
  EXPECT_EQ(read_file(dir / "moved" / "c"), "c");
}

TEST(FileSystem, ReplacesAFile) {
  const ScratchDir dir;
  write_file(files(), dir / "a", "new");
  write_file(files(), dir / "b", "old");
  files().replace(dir / "a", dir / "b");
  EXPECT_EQ(read_file(dir / "b"), "new");
  EXPECT_FALSE(fs::exists(dir / "a"));
}

TEST(FileSystem, DirectoriesMayBeThere) {
  const ScratchDir dir;
  files().create_directory(dir / "a");
  files().create_directory(dir / "a");
  files().sync_directory(dir / "a");
  EXPECT_THAT(refusal([&] { files().create_directory(dir / "b" / "c"); }), HasSubstr("No such file"));
  EXPECT_THAT(refusal([&] { files().sync_directory(dir / "b"); }), HasSubstr((dir / "b").string()));
}

TEST(FileSystem, RemovesTreesButNotWhatLinksLeadTo) {
  const ScratchDir dir;
  files().create_directory(dir / "kept");
  write_file(files(), dir / "kept" / "a", "a");
  files().create_directory(dir / "tree");
  fs::create_directory_symlink(dir / "kept", dir / "tree" / "link");
  write_file(files(), dir / "tree" / "b", "b");
  files().remove(dir / "tree");
  files().remove(dir / "tree");
  EXPECT_FALSE(fs::exists(dir / "tree"));
  EXPECT_EQ(read_file(dir / "kept" / "a"), "a");
}

TEST(FileSystem, NamesTheFileThatCannotGrow) {
  const ScratchDir dir;
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10'000, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string too_long(20'000, 'x');
  const auto file = files().create(dir / "a");
  const std::string write = refusal([&] { file->write(0, bytes_of(too_long)); });
  const std::string reserve = refusal([&] { file->reserve(20'000); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  (void)std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(write, AllOf(HasSubstr("cannot write " + (dir / "a").string()), HasSubstr("File too large")));
  EXPECT_THAT(reserve, AllOf(HasSubstr("cannot reserve space for " + (dir / "a").string()), HasSubstr("too large")));
}

}  // namespace
}  // namespace trident
