#include "core/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace trident {
namespace {

TEST(Error, MessageNamesComponentProblemAndRemedy) {
  const Error error(ErrorCode::bad_data, "data/idx", "a.idx, byte 0: bad magic", "make it with trident tokenize");
  EXPECT_STREQ(error.what(), "data/idx: a.idx, byte 0: bad magic; make it with trident tokenize");
  EXPECT_EQ(error.exit_code(), 65);
}

TEST(Error, SystemErrorsTellMissingInputFromFailedIo) {
  EXPECT_EQ(system_error(ENOENT, "c", "open x").code(), ErrorCode::input_missing);
  EXPECT_EQ(system_error(ENOSPC, "c", "write x").code(), ErrorCode::io);
  EXPECT_NE(std::string(system_error(ENOSPC, "c", "write x").what()).find("No space left"), std::string::npos);
}

TEST(Error, CheckThrowsInternalWithTheCondition) {
  try {
    TRIDENT_CHECK(1 == 2, "numbers");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
    EXPECT_NE(std::string(error.what()).find("1 == 2 (numbers)"), std::string::npos);
  }
}

}  // namespace
}  // namespace trident
