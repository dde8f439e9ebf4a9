#include "checkpoint/safetensors_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::read_file;
using test::ScratchDir;
using test::write_file;
using ::testing::HasSubstr;

std::vector<TensorSpec> specs() {
  return {{"a", SafetensorsDType::f32, {3, 4}},  // 48 bytes
          {"b", SafetensorsDType::f32, {13}},    // 52
          {"c", SafetensorsDType::f32, {100}},   // 400
          {"d", SafetensorsDType::f32, {1}}};
}

void write_model(const std::filesystem::path& dir, uint64_t shard_bytes) {
  SafetensorsModelWriter writer(dir, specs(), shard_bytes);
  float first = 0;
  for (const TensorSpec& tensor : specs()) {
    std::vector<float> values(tensor_bytes(tensor.dtype, tensor.shape, "") / 4);
    std::iota(values.begin(), values.end(), first);
    first += 1000;
    writer.append(tensor.name, std::span<const float>(values));
  }
  writer.commit();
}

std::string refusal(const std::filesystem::path& dir) {
  try {
    const SafetensorsModel model(dir);
    return "accepted";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(SafetensorsShards, PlanKeepsOrderAndLimit) {
  const auto shards = plan_shards(specs(), 100);
  ASSERT_EQ(shards.size(), 3U);
  EXPECT_EQ(shards[0].size(), 2U);  // 48 + 52 fill the limit exactly
  EXPECT_EQ(shards[1].at(0).name, "c");
  EXPECT_EQ(shards[2].at(0).name, "d");
  EXPECT_EQ(plan_shards(specs(), 99).size(), 4U);
  EXPECT_EQ(plan_shards(specs(), 1).size(), 4U);
  EXPECT_EQ(plan_shards({}, 1).size(), 1U);
}

TEST(SafetensorsShards, EveryLimitGivesTheSameTensors) {
  for (const uint64_t limit : {1U, 100U, 101U, 452U, 10000U}) {
    const ScratchDir dir;
    write_model(dir.path(), limit);
    const SafetensorsModel model(dir.path());
    EXPECT_EQ(model.entries().size(), specs().size());
    float first = 0;
    for (const TensorSpec& tensor : specs()) {
      const auto entry = model.find(tensor.name);
      ASSERT_NE(entry.tensor, nullptr) << tensor.name << " at limit " << limit;
      std::vector<float> values(entry.tensor->bytes / 4);
      entry.file->read_rows(*entry.tensor, 0, entry.tensor->rows(), std::span<float>(values));
      EXPECT_EQ(values.front(), first);
      EXPECT_EQ(values.back(), first + static_cast<float>(values.size() - 1));
      first += 1000;
    }
    EXPECT_EQ(model.find("e").tensor, nullptr);
  }
}

TEST(SafetensorsShards, IndexIsWhatTransformersReads) {
  const ScratchDir dir;
  write_model(dir.path(), 100);
  EXPECT_EQ(read_file(dir / "model.safetensors.index.json"), R"({
  "metadata": {
    "total_size": 504
  },
  "weight_map": {
    "a": "model-00001-of-00003.safetensors",
    "b": "model-00001-of-00003.safetensors",
    "c": "model-00002-of-00003.safetensors",
    "d": "model-00003-of-00003.safetensors"
  }
}
)");
}

TEST(SafetensorsShards, IndexAndShardsMustAgree) {
  const ScratchDir dir;
  EXPECT_THAT(refusal(dir.path()), HasSubstr("neither model.safetensors nor"));
  write_model(dir.path(), 100);
  const auto index = dir / "model.safetensors.index.json";
  const auto refused = [&](const std::string& text) {
    write_file(index, text);
    return refusal(dir.path());
  };
  EXPECT_THAT(refused(R"({"weight_map":{"a":"model-00001-of-00003.safetensors"}})"), HasSubstr("tensor b: the index"));
  EXPECT_THAT(refused(R"({"weight_map":{"z":"model-00001-of-00003.safetensors"}})"), HasSubstr("tensor z: not in"));
  EXPECT_THAT(refused(R"({"weight_map":{"a":"model-00009-of-00003.safetensors"}})"), HasSubstr("No such file"));
  EXPECT_THAT(refused(R"({"weight_map":{"a":"../x.safetensors"}})"), HasSubstr("tensor a: shard is"));
  EXPECT_THAT(refused(R"({"weight_map":{"a":"/etc/x.safetensors"}})"), HasSubstr("tensor a: shard is"));
  EXPECT_THAT(refused(R"({"weight_map":{"a":"model.bin"}})"), HasSubstr("tensor a: shard is"));
  EXPECT_THAT(refused(R"({"weight_map":{"a":7}})"), HasSubstr("tensor a: shard is 7"));
  EXPECT_THAT(refused(R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})"), HasSubstr("appears twice"));
  EXPECT_THAT(refused(R"({"weight_map":{}})"), HasSubstr("weight_map is empty"));
  EXPECT_THAT(refused(R"({"weight_map":[]})"), HasSubstr("expected an object with weight_map"));
  EXPECT_THAT(refused(R"([])"), HasSubstr("expected an object with weight_map"));
  EXPECT_THAT(refused(R"({)"), HasSubstr("not JSON"));
  EXPECT_THAT(refused(std::string(100000, '[')), HasSubstr("nested more than"));
  EXPECT_THAT(refused(std::string("{}\0x", 4)), HasSubstr("NUL"));
}

TEST(SafetensorsShards, WriterRefusesUnknownNames) {
  const ScratchDir dir;
  SafetensorsModelWriter writer(dir.path(), specs(), 100);
  const std::vector<float> one = {1.0F};
  EXPECT_THROW(writer.append("e", std::span<const float>(one)), Error);
}

}  // namespace
}  // namespace trident
