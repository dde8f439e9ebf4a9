#include "launch/hostfile.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/scratch_dir.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace {

class HostfileTest : public testing::Test {
 protected:
  std::vector<Host> read(const std::string& text) { return read_hostfile(scratch_.write("hosts", text)); }

  test::ScratchDir scratch_;
};

TEST_F(HostfileTest, NamesAndSlots) {
  const std::vector<Host> expected{{"a", 4}, {"b", 1}, {"c", 2}};
  EXPECT_EQ(read("# two racks\na slots=4 max_slots=8\n\nb # one\n  c slots=2\n"), expected);
}

TEST_F(HostfileTest, ANameThatComesAgainAddsItsSlots) { EXPECT_EQ(read("a slots=2\na slots=3\n").at(0).slots, 5); }

TEST_F(HostfileTest, SaysWhereItIsWrong) {
  for (const char* text : {"a slots=two\n", "a slots=0\n", "a b\n"}) {
    try {
      (void)read("x\n" + std::string(text));
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_data);
      EXPECT_NE(error.problem().find(":2:"), std::string::npos) << error.problem();
    }
  }
  EXPECT_THROW((void)read("# nothing\n"), Error);
}

TEST_F(HostfileTest, SaysWhyItCannotBeRead) {
  try {
    (void)read_hostfile(scratch_ / "missing");
    FAIL() << "nothing was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input_missing);
    EXPECT_NE(error.problem().find("missing: No such file or directory"), std::string::npos) << error.problem();
    EXPECT_NE(error.remedy().find("name slots=N"), std::string::npos) << error.remedy();
  }
  EXPECT_THROW((void)read_hostfile(std::filesystem::temp_directory_path()), Error);
}

TEST_F(HostfileTest, FindsThisMachine) {
  EXPECT_EQ(find_this_machine({{"no-such-host.invalid", 1}, {host_name(), 1}}), 1);
  EXPECT_EQ(find_this_machine({{"192.0.2.1", 1}, {"127.0.0.1", 1}}), 1);
  EXPECT_EQ(find_this_machine({{"127.0.0.1", 1}, {host_name(), 1}}), 1);
  EXPECT_THROW((void)find_this_machine({{"192.0.2.1", 1}}), Error);
}

}  // namespace
}  // namespace trident
