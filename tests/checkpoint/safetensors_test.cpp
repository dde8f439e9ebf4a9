#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "checkpoint/safetensors_reader.h"
#include "checkpoint/safetensors_writer.h"
#include "core/error.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::ScratchDir;
using test::write_file;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> random_values(size_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

std::string file_bytes(const std::string& json, const std::string& payload) {
  std::string bytes(8, '\0');
  const uint64_t length = json.size();
  std::memcpy(bytes.data(), &length, 8);
  return bytes + json + payload;
}

TEST(Safetensors, HeaderMatchesTheReferenceWriterByteForByte) {
  const std::string header = format_safetensors_header({{"attn.0", SafetensorsDType::f32, {1, 2, 3}}}, {});
  EXPECT_EQ(header, file_bytes(R"({"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}})", ""));
  const std::string empty = format_safetensors_header({}, {{"framework", "pt"}});
  EXPECT_EQ(empty, file_bytes(R"({"__metadata__":{"framework":"pt"}}     )", ""));
}

TEST(Safetensors, RoundTripOfOddShapes) {
  const ScratchDir dir;
  const std::vector<TensorSpec> specs = {
      {"odd", SafetensorsDType::f32, {3, 5, 7}},  {"nothing", SafetensorsDType::f32, {4, 0}},
      {"scalar", SafetensorsDType::f64, {}},      {"half", SafetensorsDType::f16, {11}},
      {"brain", SafetensorsDType::bf16, {1, 13}}, {"none either", SafetensorsDType::bf16, {0}}};
  const auto odd = random_values(105, 1);
  const std::vector<double> scalar = {0.1};
  const auto half = random_values(11, 2);
  const auto brain = random_values(13, 3);
  SafetensorsWriter writer(dir / "a.safetensors", specs);
  writer.append("odd", std::span<const float>(odd).first(40));  // blocks need not end at rows
  writer.append("odd", std::span<const float>(odd).subspan(40));
  writer.append("scalar", std::span<const double>(scalar));
  writer.append("half", std::span<const float>(half));
  writer.append("brain", std::span<const float>(brain));
  writer.commit();

  const SafetensorsFile file(dir / "a.safetensors");
  EXPECT_EQ(file.tensors().size(), 6U);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.at("odd").offset % 8, 0U);
  std::vector<float> rows(70);
  file.read_rows(file.at("odd"), 1, 2, std::span<float>(rows));
  EXPECT_EQ(rows, std::vector<float>(odd.begin() + 35, odd.end()));
  std::vector<double> one(1);
  file.read_rows(file.at("scalar"), 0, 1, std::span<double>(one));
  EXPECT_EQ(one, scalar);
  std::vector<float> back(13);
  file.read_rows(file.at("brain"), 0, 1, std::span<float>(back));
  for (size_t i = 0; i < back.size(); ++i) EXPECT_NEAR(back[i], brain[i], std::abs(brain[i]) / 256);
  back.resize(11);
  file.read_rows(file.at("half"), 0, 11, std::span<float>(back));
  for (size_t i = 0; i < back.size(); ++i) EXPECT_NEAR(back[i], half[i], std::abs(half[i]) / 2048);
  file.read_rows(file.at("nothing"), 0, 4, std::span<float>());
}

TEST(Safetensors, BlocksOfColumnsReadFromTheMiddle) {
  const ScratchDir dir;
  std::vector<float> values(5 * 9);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  SafetensorsWriter writer(dir / "a.safetensors", {{"m", SafetensorsDType::f32, {5, 9}}});
  writer.append("m", std::span<const float>(values));
  writer.commit();
  const SafetensorsFile file(dir / "a.safetensors");
  std::vector<double> block(6);
  file.read_block(file.at("m"), {2, 2, 4, 3}, std::span<double>(block));
  EXPECT_THAT(block, ElementsAre(22, 23, 24, 31, 32, 33));
  EXPECT_THROW(file.read_block(file.at("m"), {4, 2, 0, 3}, std::span<double>(block)), Error);
  EXPECT_THROW(file.read_block(file.at("m"), {0, 2, 7, 3}, std::span<double>(block)), Error);
  EXPECT_THROW(file.read_block(file.at("m"), {0, 1, 0, 3}, std::span<double>(block)), Error);
}

TEST(Safetensors, SpecialValuesSurviveBitForBit) {
  const ScratchDir dir;
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {-0.0F, infinity, -infinity, std::numeric_limits<float>::denorm_min(),
                                     std::bit_cast<float>(0x7fc01234U)};
  SafetensorsWriter writer(dir / "a.safetensors", {{"v", SafetensorsDType::f32, {5}}});
  writer.append("v", std::span<const float>(values));
  writer.commit();
  const SafetensorsFile file(dir / "a.safetensors");
  std::vector<float> back(5);
  file.read_rows(file.at("v"), 0, 5, std::span<float>(back));
  EXPECT_EQ(std::memcmp(back.data(), values.data(), 20), 0);
}

TEST(Safetensors, UnalignedPayloadsOfOtherWritersAreRead) {
  const ScratchDir dir;
  const std::vector<float> values = {1.5F, -2.25F};
  std::string payload(8, '\0');
  std::memcpy(payload.data(), values.data(), 8);
  write_file(dir / "a.safetensors", file_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", payload));
  const SafetensorsFile file(dir / "a.safetensors");
  ASSERT_NE(file.at("a").offset % 4, 0U);
  std::vector<float> back(2);
  file.read_rows(file.at("a"), 0, 2, std::span<float>(back));
  EXPECT_EQ(back, values);
}

TEST(Safetensors, OtherTypesAreListedButNotRead) {
  const ScratchDir dir;
  write_file(dir / "a.safetensors",
             file_bytes(R"({"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", std::string(8, '\1')));
  const SafetensorsFile file(dir / "a.safetensors");
  std::vector<float> out(1);
  try {
    file.read_rows(file.at("ids"), 0, 1, std::span<float>(out));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("tensor ids: dtype is I64, expected F64, F32, F16 or BF16"));
  }
  EXPECT_THROW(static_cast<void>(file.at("names")), Error);
}

TEST(Safetensors, NothingAppearsBeforeCommit) {
  const ScratchDir dir;
  const std::vector<float> values = {1.0F};
  {
    SafetensorsWriter writer(dir / "a.safetensors", {{"v", SafetensorsDType::f32, {2}}});
    writer.append("v", std::span<const float>(values));
    EXPECT_THROW(writer.commit(), Error);  // one value is missing
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Safetensors, WriterRefusesWhatWasNotDeclared) {
  const ScratchDir dir;
  const std::vector<float> values = {1.0F, 2.0F};
  SafetensorsWriter writer(dir / "a.safetensors",
                           {{"v", SafetensorsDType::f32, {1}}, {"w", SafetensorsDType::f32, {1}}});
  EXPECT_THROW(writer.append("w", std::span<const float>(values).first(1)), Error);
  EXPECT_THROW(writer.append("v", std::span<const float>(values)), Error);
  const auto refuses = [&](const std::vector<TensorSpec>& tensors) {
    EXPECT_THROW(SafetensorsWriter(dir / "b.safetensors", tensors), Error);
  };
  refuses({{"v", SafetensorsDType::f32, {1}}, {"v", SafetensorsDType::f32, {1}}});
  refuses({{"v", SafetensorsDType::f32, {-1}}});
  refuses({{"v", SafetensorsDType::i64, {1}}});
  refuses({{"__metadata__", SafetensorsDType::f32, {1}}});
}

TEST(Safetensors, WriterNamesTheFolderItCannotUse) {
  try {
    const SafetensorsWriter writer("/no/such/folder/a.safetensors", {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("/no/such/folder"));
  }
}

}  // namespace
}  // namespace trident
