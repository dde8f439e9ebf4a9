#include "launch/epoch_log.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/scratch_dir.h"
#include "train/metrics/epochs_file.h"

namespace trident {
namespace {

using test::ScratchDir;
using ::testing::HasSubstr;

std::string content(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(EpochLog, GoesOnWhereItWas) {
  const ScratchDir scratch;
  const auto path = scratch.path() / "epochs.jsonl";
  {
    EpochLog log(path);
    EXPECT_EQ(log.last_epoch(), 0);
    log.begin(3, {2, 1, 2});
    log.workers(3, {11, 12, 13, 14});
    EXPECT_EQ(log.last_epoch(), 3);
  }
  std::ofstream(path, std::ios::app) << R"({"v":1,"event":"begin","epo)";
  EpochLog log(path);
  EXPECT_EQ(log.last_epoch(), 3);
  EXPECT_ANY_THROW(log.begin(3, {1, 1, 1}));
  Verdict verdict;
  verdict.rank = 2;
  verdict.what = "crashed \"badly\"";
  log.end(3, "fault", 17, &verdict);
  const std::string text = content(path);
  EXPECT_THAT(text, HasSubstr(R"("event":"begin","epoch":3,"ranks":4,"dp":2,"tp":1,"pp":2,"first":true})"));
  EXPECT_THAT(text, HasSubstr(R"("pids":[11,12,13,14]})"));
  EXPECT_THAT(text, HasSubstr(R"("outcome":"fault","committed":17,"rank":2,"cause":"hang","verdict":)"));
  EXPECT_THAT(text, HasSubstr(R"(crashed \"badly\")"));
}

TEST(EpochLog, MarksTheFirstEpochOfAStart) {
  const ScratchDir scratch;
  const auto path = scratch.path() / "epochs.jsonl";
  for (const int64_t epoch : {1, 3}) {
    EpochLog log(path);
    log.begin(epoch, {1, 1, 1});
    log.begin(epoch + 1, {1, 1, 1});
  }
  EpochLog successor(path);
  successor.coordinator(5, "b");
  successor.begin(5, {1, 1, 1}, {{"b", 1}});
  std::vector<int64_t> first;
  for (const EpochRecord& epoch : read_epochs(path)) {
    if (epoch.first) first.push_back(epoch.epoch);
  }
  EXPECT_EQ(first, (std::vector<int64_t>{1, 3}));
}

TEST(EpochLog, AFullDiskStopsIt) { EXPECT_ANY_THROW(EpochLog("/dev/full").begin(1, {1, 1, 1})); }

}  // namespace
}  // namespace trident
