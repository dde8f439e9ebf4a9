#include "checkpoint/stream_copy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "core/error.h"

namespace trident {
namespace {

std::vector<std::byte> numbered(size_t bytes) {
  std::vector<std::byte> content(bytes);
  for (size_t i = 0; i < bytes; ++i) content[i] = static_cast<std::byte>((i * 131 + 7) >> 3);
  return content;
}

TEST(StreamCopy, CopiesEveryByteAndNoneBesideForAnyAlignmentAndSize) {
  const auto source = numbered(1024);
  for (size_t from = 0; from < 20; from += 3) {
    for (size_t to = 0; to < 70; ++to) {
      for (const size_t bytes : {0U, 1U, 15U, 63U, 64U, 65U, 127U, 128U, 500U}) {
        std::vector<std::byte> target(800, std::byte{0xee});
        auto expected = target;
        std::memcpy(expected.data() + to, source.data() + from, bytes);
        stream_copy(std::span(target).subspan(to), std::span(source).subspan(from, bytes));
        ASSERT_EQ(target, expected) << from << " " << to << " " << bytes;
      }
    }
  }
}

TEST(StreamCopy, NothingFromNowhere) { stream_copy({}, {}); }

TEST(StreamCopy, RefusesATargetThatIsTooShort) {
  const auto source = numbered(65);
  std::vector<std::byte> target(64);
  EXPECT_THROW(stream_copy(target, source), Error);
}

}  // namespace
}  // namespace trident
