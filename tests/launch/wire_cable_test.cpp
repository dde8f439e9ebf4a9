#include <gmock/gmock.h>

#include <thread>

#include "launch/refusal_watch.h"
#include "launch/wire/cable.h"
#include "launch/wire/forgery.h"
#include "launch/wire/link.h"
#include "launch/wire/listener.h"
#include "tests/launch/until.h"

namespace trident {
namespace {

using namespace std::chrono_literals;
using Clock = WireCable::Clock;
using Cut = WireCable::Cut;

TEST(WireCable, IsCutAndWholeByTurns) {
  WireCable cable;
  EXPECT_TRUE(cable.lets_in() && cable.lets_out());
  // The turns before now are over: times that no test has to wait for.
  cable.cut(Cut::both_ways, Clock::now() - 250h, 100h, 3);
  EXPECT_FALSE(cable.lets_in() || cable.lets_out());
  cable.cut(Cut::outgoing, Clock::now() - 250h, 100h, 3);
  EXPECT_TRUE(cable.lets_in());
  EXPECT_FALSE(cable.lets_out());
  cable.cut(Cut::both_ways, Clock::now() - 150h, 100h, 3);
  EXPECT_TRUE(cable.lets_in() && cable.lets_out()) << "in between";
  cable.cut(Cut::both_ways, Clock::now() - 600h, 100h, 3);
  EXPECT_TRUE(cable.lets_in() && cable.lets_out()) << "at the end";
  cable.cut(Cut::both_ways, Clock::now(), 0s, 3);
  EXPECT_TRUE(cable.lets_in() && cable.lets_out());
}

class CutLink : public testing::Test {
 protected:
  CutLink() {
    EXPECT_TRUE(until([&] {
      for (WireLink& link : listener_.accept()) far_.push_back(std::move(link));
      (void)near_.receive();
      return near_.established() && !far_.empty();
    }));
  }
  void cut(Cut what) { cable_->cut(what, Clock::now(), 1h, 1); }
  void mend() { cable_->cut(Cut::both_ways, Clock::now(), 0s, 0); }
  [[nodiscard]] static std::optional<Frame> next(WireLink& link) {
    std::optional<Frame> frame;
    EXPECT_TRUE(until([&] { return (frame = link.receive()) || link.closed(); }));
    return frame;
  }

  const std::shared_ptr<WireCable> cable_ = std::make_shared<WireCable>();
  const JobSecret secret_ = JobSecret::generate();
  WireListener listener_{{}, secret_};
  WireLink near_ = WireLink::connect("127.0.0.1", listener_.port(), secret_, Clock::now() + kWatchdog, cable_);
  std::vector<WireLink> far_;
};

TEST_F(CutLink, LosesNothing) {
  WireLink& far = far_.at(0);
  cut(Cut::both_ways);
  EXPECT_TRUE(near_.send({1, 1, "out"}));
  EXPECT_TRUE(far.send({2, 1, "in"}));
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(far.receive(), std::nullopt);
  EXPECT_EQ(near_.receive(), std::nullopt);
  EXPECT_EQ(near_.descriptor(), -1) << "poll() must not wake up for what may not be read";
  mend();
  EXPECT_EQ(next(near_), (Frame{2, 1, "in"}));
  EXPECT_EQ(next(far), (Frame{1, 1, "out"}));
}

TEST_F(CutLink, HearsOneWay) {
  WireLink& far = far_.at(0);
  cut(Cut::outgoing);
  EXPECT_TRUE(near_.send({1, 1, "out"}));
  EXPECT_TRUE(far.send({2, 1, "in"}));
  EXPECT_EQ(next(near_), (Frame{2, 1, "in"}));
  EXPECT_EQ(far.receive(), std::nullopt);
}

TEST_F(CutLink, ClosesForThePeerWhenItIsWholeAgain) {
  WireLink& far = far_.at(0);
  cut(Cut::both_ways);
  near_.close("done");
  EXPECT_TRUE(near_.closed());
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(far.receive(), std::nullopt);
  EXPECT_FALSE(far.closed());
  mend();
  EXPECT_TRUE(cable_->lets_out());
  EXPECT_EQ(next(far), std::nullopt);
  EXPECT_EQ(far.reason(), "the peer closed the connection");
}

TEST_F(CutLink, LetsNobodyComeMeanwhile) {
  WireListener listener({.cable = cable_}, secret_);
  cut(Cut::both_ways);
  WireLink link = WireLink::connect("127.0.0.1", listener.port(), secret_, Clock::now() + kWatchdog);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(listener.accept().empty());
    (void)link.receive();
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_FALSE(link.established());
  mend();
  EXPECT_TRUE(until([&] { return (void)link.receive(), !listener.accept().empty() || link.established(); }));
}

TEST(Forgeries, AreRefusedEachForItsOwnReason) {
  WireListener listener({}, JobSecret::generate());
  send_forgeries("127.0.0.1", listener.port(), 1);
  WireCounters expected;
  expected.forged = expected.oversized = expected.malformed = 1;
  EXPECT_TRUE(until([&] { return listener.accept().empty() && listener.counters() == expected; }));
  // Nobody listens there: nothing happens.
  send_forgeries("127.0.0.1", 1, 1);
}

TEST(RefusalWatch, MakesOneSentenceOfWhatComesAtOnce) {
  RefusalWatch watch;
  WireCounters counters;
  const auto start = Clock::now();
  EXPECT_EQ(watch.look(counters, start), std::nullopt);
  counters.forged = 1;
  EXPECT_EQ(watch.look(counters, start), std::nullopt);
  counters.forged = 2, counters.malformed = 1, counters.timed_out = 7;
  EXPECT_EQ(watch.look(counters, start + 200ms), std::nullopt);
  EXPECT_EQ(watch.look(counters, start + 400ms), std::nullopt);
  EXPECT_EQ(watch.look(counters, start + 600ms),
            "3 connections of somebody who is not of this job were refused: 2 wrongly signed, 1 of no known protocol");
  EXPECT_EQ(watch.look(counters, start + 9s), std::nullopt);
  // Who never stops is told of all the same.
  int told = 0;
  for (auto now = start + 10s; now < start + 21s; now += 100ms) {
    ++counters.oversized;
    told += watch.look(counters, now).has_value() ? 1 : 0;
  }
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace trident
