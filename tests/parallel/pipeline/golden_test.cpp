#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/schedules.h"

namespace trident::pipeline {
namespace {

struct Golden {
  std::string file;
  Schedule schedule;
};

class GoldenSchedule : public testing::TestWithParam<Golden> {};

// After an intended change: TRIDENT_WRITE_GOLDEN=1 build/tests/pipeline_tests --gtest_filter='*Golden*', then read the
// diff.
TEST_P(GoldenSchedule, IsUnchanged) {
  const std::string path = TRIDENT_SOURCE_DIR "/tests/parallel/pipeline/golden/" + GetParam().file;
  const std::string text = to_text(GetParam().schedule);
  if (std::getenv("TRIDENT_WRITE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::stringstream golden;
  golden << std::ifstream(path).rdbuf();
  EXPECT_EQ(text, golden.str()) << path;
}

INSTANTIATE_TEST_SUITE_P(
    Files, GoldenSchedule,
    testing::Values(Golden{"gpipe_p3_m4.txt", gpipe(3, 4)}, Golden{"1f1b_p4_m8.txt", one_f_one_b(4, 8)},
                    Golden{"1f1b_p4_m2.txt", one_f_one_b(4, 2)},
                    Golden{"1f1b_p3_m4_lowered.txt", lower(one_f_one_b(3, 4), {.tied_embedding = true})},
                    Golden{"interleaved_p2_v2_m4.txt", interleaved(2, 2, 4)},
                    Golden{"interleaved_p2_v2_m5.txt", interleaved(2, 2, 5)}, Golden{"zb-h1_p4_m8.txt", zb_h1(4, 8)},
                    Golden{"zb-v_p3_m6.txt", zb_v(3, 6)}, Golden{"zb-v_p3_m6_lowered.txt", lower(zb_v(3, 6))}),
    [](const auto& golden) {
      std::string name = golden.param.file.substr(0, golden.param.file.find('.'));
      for (char& c : name)
        if (c == '-') c = '_';
      return name;
    });

}  // namespace
}  // namespace trident::pipeline
