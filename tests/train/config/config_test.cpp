#include "train/config/config.h"

#include <gtest/gtest.h>

namespace trident {
namespace {

TEST(Config, SmallestJobReadsBackAsItself) {
  const auto job = parse_job("model: {preset: llama-tiny}\ndata: {train: data/kjv}\ntraining: {steps: 5}\n", "a.yaml");
  EXPECT_EQ(parse_job(to_yaml(job), "other.yaml"), job);
}

}  // namespace
}  // namespace trident
