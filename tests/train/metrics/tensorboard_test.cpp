#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "tests/scratch_dir.h"
#include "train/metrics/crc32c.h"
#include "train/metrics/run_directory.h"
#include "train/metrics/tensorboard_writer.h"

namespace trident {
namespace {

using test::read_file;
using test::ScratchDir;

TEST(Crc32c, KnownVectors) {  // RFC 3720, B.4
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending += static_cast<char>(i);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c(ascending), 0x46dd794eU);
  EXPECT_EQ(crc32c(""), 0U);
}

TEST(Crc32c, InstructionAndTableAgreeAtEverySize) {
  std::string bytes;
  for (int size = 0; size < 200; ++size) {
    EXPECT_EQ(crc32c(bytes), crc32c_portable(bytes)) << size;
    bytes += static_cast<char>(size * 37);
  }
}

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8U | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> payloads;
  std::size_t at = 0;
  while (at + 16 <= file.size()) {
    const std::string_view length_bytes = std::string_view(file).substr(at, 8);
    const std::size_t length = little_endian(length_bytes);
    EXPECT_EQ(little_endian(file.substr(at + 8, 4)), masked_crc(crc32c_portable(length_bytes)));
    payloads.push_back(file.substr(at + 12, length));
    EXPECT_EQ(little_endian(file.substr(at + 12 + length, 4)), masked_crc(crc32c_portable(payloads.back())));
    at += length + 16;
  }
  EXPECT_EQ(at, file.size());
  return payloads;
}

TEST(TensorBoard, FramesEveryRecordWithMaskedChecksums) {
  const ScratchDir folder;
  TensorBoardWriter writer(folder.path());
  writer.start_session(200);
  const std::array<tensorboard::Scalar, 2> values{{{"train/loss", 2.5}, {"train/lr", 1e-3}}};
  writer.scalars(200, values);
  writer.text(0, "config", "run: {name: smoke}");
  const auto records = records_of(read_file(writer.path()));
  ASSERT_EQ(records.size(), 4U);
  EXPECT_THAT(records[0], testing::EndsWith(std::string("\x1a\x0d") + "brain.Event:2"));
  EXPECT_THAT(records[1], testing::EndsWith(std::string("\x10\xc8\x01\x3a\x02\x08\x01")));
  EXPECT_THAT(records[2], testing::HasSubstr("train/lr"));
  const float loss = 2.5F;
  std::string expected = "\x0a\x0atrain/loss\x15";
  expected.append(reinterpret_cast<const char*>(&loss), 4);
  EXPECT_THAT(records[2], testing::HasSubstr(expected));
  EXPECT_THAT(records[3], testing::HasSubstr("run: {name: smoke}"));
}

TEST(TensorBoard, FilesOfOneProcessInOneSecondHaveTheirOwnNames) {
  const ScratchDir folder;
  const TensorBoardWriter first(folder.path());
  const TensorBoardWriter second(folder.path());
  EXPECT_NE(first.path(), second.path());
  EXPECT_THAT(first.path().filename().string(), testing::MatchesRegex("events\\.out\\.tfevents\\.[0-9]+\\..+\\." +
                                                                      std::to_string(process_id()) + "\\.[0-9]+"));
}

}  // namespace
}  // namespace trident
