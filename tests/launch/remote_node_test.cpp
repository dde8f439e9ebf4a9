#include "launch/remote_node.h"

#include <gmock/gmock.h>

#include <utility>
#include <vector>

#include "launch/wire/listener.h"
#include "tests/launch/until.h"

namespace trident {
namespace {

using testing::HasSubstr;

/// A node and agents that come to it, as a coordinator sees them.
class RemoteNodeTest : public testing::Test {
 protected:
  /// Another agent where `port` is another.
  void agent_comes(uint16_t port) {
    agent_.emplace(
        WireLink::connect("127.0.0.1", listener_.port(), secret_, std::chrono::steady_clock::now() + kWatchdog));
    ASSERT_TRUE(until([&] {
      for (WireLink& link : listener_.accept()) accepted_.push_back(std::move(link));
      (void)agent_->receive();
      return agent_->established() && !accepted_.empty();
    }));
    node_.connect(std::move(accepted_.back()), {{1, "b", "127.0.0.1", port, 7}, epoch_}, epoch_);
    accepted_.clear();
  }
  void takes_ranks() { node_.begin({++epoch_, 2, 2}); }
  void link_is_lost() {
    agent_.reset();
    ASSERT_TRUE(until([&] {
      node_.advance();
      return !node_.connected();
    }));
    EXPECT_THAT(node_.lost().value_or(""), HasSubstr("its agent is gone"));
    node_.evict();
  }

  JobSecret secret_ = JobSecret::generate();
  WireListener listener_{{}, secret_};
  RemoteNode node_{1, {"b", 2}, {}};
  std::optional<WireLink> agent_;
  std::vector<WireLink> accepted_;
  int64_t epoch_ = 0;
};

TEST_F(RemoteNodeTest, AnotherAgentIsTakenInAtOnce) {
  agent_comes(1000);
  takes_ranks();
  link_is_lost();
  agent_comes(2000);
  EXPECT_TRUE(node_.usable());
}

TEST_F(RemoteNodeTest, TheAgentThatWasLostHasToStayForAWhile) {
  agent_comes(1000);
  EXPECT_TRUE(node_.usable());
  takes_ranks();
  link_is_lost();
  EXPECT_FALSE(node_.usable());
  agent_comes(1000);
  EXPECT_FALSE(node_.usable());
  EXPECT_FALSE(node_.lost());
}

TEST_F(RemoteNodeTest, WhoHadNoRanksHasLostNothing) {
  agent_comes(1000);
  link_is_lost();
  agent_comes(1000);
  EXPECT_TRUE(node_.usable());
}

TEST_F(RemoteNodeTest, ANodeThatIsSetAsideWaitsForAnotherAgent) {
  agent_comes(1000);
  node_.prove();
  node_.set_aside(true);
  EXPECT_FALSE(node_.usable());
  link_is_lost();
  agent_comes(1000);
  EXPECT_FALSE(node_.usable());
  EXPECT_TRUE(node_.proven());
  link_is_lost();
  agent_comes(2000);
  EXPECT_TRUE(node_.usable());
  EXPECT_FALSE(node_.proven());
}

}  // namespace
}  // namespace trident
