#include "launch/chaos_log.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <filesystem>

#include "tests/scratch_dir.h"
#include "train/metrics/append_file.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

/// A run of three nodes, whose coordinator is on the first.
class ChaosLogTest : public testing::Test {
 protected:
  void inject(const std::string& fault, int64_t epoch, const std::string& host) {
    append_injection(run_.injections(), parse_faults(fault).at(0), epoch, {-1, host});
  }
  [[nodiscard]] ChaosLog log(const std::string& faults, int node = 0) const {
    return {run_, parse_faults(faults), {node, {}}};
  }
  static void lose(ChaosLog& log, int64_t epoch, const std::string& host, int exit_code = 0) {
    Verdict verdict;
    verdict.cause = FaultCause::node_lost;
    verdict.host = host;
    verdict.exit_code = exit_code;
    log.verdict(epoch, verdict, std::chrono::steady_clock::now());
    log.fenced();
  }
  void tell(RunEvent event, const std::string& host, const std::string& cause) {
    EventRecord record{.event = event, .attempt = 1};
    record.host = host;
    record.cause = cause;
    AppendFile(run_.events()).append(to_json_line(record));
  }
  [[nodiscard]] std::vector<nlohmann::json> lines() const {
    std::vector<nlohmann::json> all;
    for_each_line(run_.chaos(), [&](std::string_view line) { all.push_back(nlohmann::json::parse(line)); });
    return all;
  }

  test::ScratchDir folder_;
  const RunDirectory run_{folder_.path()};
};

TEST_F(ChaosLogTest, ANodeIsNamedByItsHost) {
  const std::string fault = "agent_kill@node=1,step=5,epoch=once";
  for (const std::string named : {"b", "c"}) {
    fs::remove(run_.injections()), fs::remove(run_.chaos());
    ChaosLog chaos = log(fault);
    inject(fault, 1, "b");
    lose(chaos, 1, named);
    EXPECT_EQ(chaos.finish(), named == "b");
    ASSERT_EQ(lines().size(), 1U);
    EXPECT_EQ(lines()[0]["named_host"], named);
    EXPECT_EQ(lines()[0]["right"], named == "b");
    EXPECT_TRUE(lines()[0]["rank"].is_null());
  }
}

TEST_F(ChaosLogTest, ALinkIsNamedByEitherEnd) {
  const std::string fault = "cut_link@node=0,step=5,epoch=once,seconds=4";
  ChaosLog chaos = log(fault);
  inject(fault, 1, "a");
  lose(chaos, 1, "b");
  EXPECT_TRUE(chaos.finish());
}

TEST_F(ChaosLogTest, AShortCutMayPassUnnoticedAndALongOneMayNot) {
  for (const bool is_long : {false, true}) {
    fs::remove(run_.injections()), fs::remove(run_.chaos());
    const std::string fault = std::string("cut_link@node=1,step=5,epoch=once,seconds=") + (is_long ? "4" : "1");
    ChaosLog chaos = log(fault);
    inject(fault, 1, "b");
    EXPECT_EQ(chaos.finish(), !is_long);
    ASSERT_EQ(lines().size(), 1U);
    EXPECT_TRUE(lines()[0]["detected"].is_null());
    EXPECT_EQ(lines()[0]["right"], !is_long);
  }
}

TEST_F(ChaosLogTest, ALinkThatIsCutJustBeforeTheEndMayPassUnnoticed) {
  const std::string fault = "cut_link@node=1,step=5,epoch=once,seconds=4";
  ChaosLog chaos = log(fault);
  inject(fault, 1, "b");
  chaos.ended();
  EXPECT_TRUE(chaos.finish());
}

TEST_F(ChaosLogTest, ALinkThatFlapsMayBeFoundLostAgain) {
  const std::string fault = "cut_link@node=1,step=5,epoch=once,seconds=4,times=3";
  ChaosLog chaos = log(fault);
  inject(fault, 1, "b");
  lose(chaos, 1, "b");
  lose(chaos, 2, "b");
  EXPECT_TRUE(chaos.finish());
  lose(chaos, 3, "c");
  EXPECT_FALSE(chaos.finish()) << "nothing was done to that one";
}

TEST_F(ChaosLogTest, WhoTakesOverSeesTheFaultsOfTheLastOneThrough) {
  const std::string kill = "agent_kill@node=2,step=3,epoch=once", end = "coordinator_kill@step=9,epoch=once";
  inject(kill, 1, "c");
  tell(RunEvent::verdict, "c", "node lost");
  inject(end, 2, "a");
  ChaosLog chaos = log(kill + ";" + end, 1);
  lose(chaos, 2, "a");
  EXPECT_TRUE(chaos.finish());
  EXPECT_EQ(lines().size(), 2U);
}

TEST_F(ChaosLogTest, WhoIsCutOffLeavesTheLogToTheOthers) {
  const std::string fault = "cut_link@node=0,step=5,epoch=once,seconds=4";
  ChaosLog chaos = log(fault);
  inject(fault, 1, "a");
  lose(chaos, 1, "b", 69);
  EXPECT_TRUE(chaos.finish());
  EXPECT_TRUE(lines().empty());
  ChaosLog successor = log(fault, 1);
  lose(successor, 1, "a");
  EXPECT_TRUE(successor.finish());
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(ChaosLogTest, ForgedFramesAreToldByAnEvent) {
  const std::string fault = "forged_frames@node=1,step=5,epoch=once";
  inject(fault, 1, "b");
  {
    ChaosLog chaos = log(fault);
    EXPECT_FALSE(chaos.finish());
  }
  fs::remove(run_.chaos());
  tell(RunEvent::fault, "a", "forged frames");
  ChaosLog chaos = log(fault);
  EXPECT_TRUE(chaos.finish());
  EXPECT_EQ(lines().back()["named_cause"], "forged frames");
}

}  // namespace
}  // namespace trident
