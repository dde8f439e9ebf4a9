#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "launch/wire/bytes.h"
#include "launch/wire/link.h"
#include "launch/wire/listener.h"
#include "launch/wire/socket_address.h"
#include "tests/launch/until.h"

namespace trident {
namespace {

using namespace std::chrono_literals;
using Clock = WireLink::Clock;

std::string text(const WireNonce& nonce) { return {reinterpret_cast<const char*>(nonce.data()), nonce.size()}; }

/// A peer that speaks the protocol by itself, and as badly as a test wants.
class RawPeer {
 public:
  explicit RawPeer(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const SocketAddress to = SocketAddress::parse("127.0.0.1", port);
    EXPECT_EQ(::connect(socket_.get(), to.get(), to.size), 0);
  }
  void say(std::string_view bytes) const {
    EXPECT_EQ(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), std::ssize(bytes));
  }
  /// `pump` keeps the other side going meanwhile.
  [[nodiscard]] std::string hear(size_t bytes, const std::function<void()>& pump) const {
    std::string heard(bytes, '\0');
    const auto all = [&](int flags) { return ::recv(socket_.get(), heard.data(), bytes, flags) == std::ssize(heard); };
    EXPECT_TRUE(until([&] { return pump(), all(MSG_DONTWAIT | MSG_PEEK); }));
    EXPECT_TRUE(all(0));
    return heard;
  }
  void greet(WireRole role = WireRole::connector) const {
    say(ByteWriter().raw("TRWH").number(uint16_t{1}).number(static_cast<uint16_t>(role)).raw(text(nonce_)).bytes());
  }
  /// The key that it must use, from the listener's greeting.
  [[nodiscard]] SecretKey key(const JobSecret& secret, const std::function<void()>& pump) const {
    WireNonce other{};
    const std::string greeting = hear(24, pump);
    std::copy(greeting.begin() + 8, greeting.end(), other.begin());
    return frame_key(secret, WireRole::connector, nonce_, other);
  }

 private:
  UniqueDescriptor socket_;
  WireNonce nonce_ = random_nonce();
};

class WireLinkTest : public testing::Test {
 protected:
  [[nodiscard]] WireLink connect(const JobSecret& secret) const {
    return WireLink::connect("127.0.0.1", listener_.port(), secret, Clock::now() + kWatchdog);
  }
  [[nodiscard]] WireLink connect() const { return connect(secret_); }
  void accept() {
    for (WireLink& link : listener_.accept()) accepted_.push_back(std::move(link));
  }
  /// Until both ends are there.
  [[nodiscard]] bool join(WireLink& link) {
    return until([&] {
      accept();
      (void)link.receive();
      return link.established() && !accepted_.empty();
    });
  }
  /// A raw peer whose handshake is done.
  [[nodiscard]] FrameWriter join(const RawPeer& peer) {
    peer.greet();
    FrameWriter writer(peer.key(secret_, [&] { accept(); }));
    (void)peer.hear(kFrameOverhead, [&] { accept(); });
    peer.say(writer.write(Frame{}));
    EXPECT_TRUE(until([&] { return accept(), accepted_.size() == 1; }));
    return writer;
  }
  [[nodiscard]] static std::optional<Frame> next(WireLink& link) {
    std::optional<Frame> frame;
    EXPECT_TRUE(until([&] { return (frame = link.receive()) || link.closed(); }));
    return frame;
  }
  void expect_dropped(const std::function<uint64_t()>& counted) {
    EXPECT_TRUE(until([&] { return accept(), counted() == 1 && listener_.half_open() == 0; }));
    EXPECT_TRUE(accepted_.empty());
  }

  const JobSecret secret_ = JobSecret::generate();
  WireListener listener_{{.half_open = 2, .handshake = kWatchdog}, secret_};
  std::vector<WireLink> accepted_;
};

TEST_F(WireLinkTest, CarriesFramesBothWays) {
  WireLink agent = connect();
  ASSERT_TRUE(join(agent));
  EXPECT_TRUE(agent.send({1, 5, "digest"}));
  EXPECT_TRUE(agent.send({2, 5, std::string(kMaxFramePayload, 'b')}));
  EXPECT_EQ(next(accepted_[0]), (Frame{1, 5, "digest"}));
  std::optional<Frame> large;
  EXPECT_TRUE(until([&] { return (void)agent.receive(), (large = accepted_[0].receive()).has_value(); }));
  EXPECT_EQ(large->payload.size(), kMaxFramePayload);
  EXPECT_TRUE(accepted_[0].send({3, 6, "begin"}));
  EXPECT_EQ(next(agent), (Frame{3, 6, "begin"}));
  EXPECT_EQ(agent.counters(), WireCounters{});
  EXPECT_EQ(listener_.counters(), WireCounters{});
}

TEST_F(WireLinkTest, WhatWasSaidLastIsHeardBeforeTheEnd) {
  WireLink agent = connect();
  ASSERT_TRUE(join(agent));
  EXPECT_TRUE(agent.send({1, 5, "last words"}));
  agent.close("done");
  EXPECT_EQ(next(accepted_[0]), (Frame{1, 5, "last words"}));
  EXPECT_EQ(next(accepted_[0]), std::nullopt);
  EXPECT_EQ(accepted_[0].reason(), "the peer closed the connection");
  EXPECT_FALSE(accepted_[0].send({1, 5, "anybody?"}));
}

TEST_F(WireLinkTest, KnowsWhoDoesNotKnowTheSecret) {
  WireLink stranger = connect(JobSecret::generate());
  EXPECT_TRUE(until([&] { return accept(), (void)stranger.receive(), stranger.closed(); }));
  EXPECT_EQ(stranger.counters().forged, 1U);

  const RawPeer guesser(listener_.port());
  guesser.greet();
  guesser.say(FrameWriter(SecretKey()).write(Frame{}));
  expect_dropped([&] { return listener_.counters().forged; });
}

TEST_F(WireLinkTest, TakesNothingReflected) {
  const RawPeer mirror(listener_.port());
  mirror.greet();
  (void)mirror.hear(24, [&] { accept(); });
  mirror.say(mirror.hear(kFrameOverhead, [&] { accept(); }));
  expect_dropped([&] { return listener_.counters().forged; });
}

TEST_F(WireLinkTest, TakesNoOtherProtocol) {
  RawPeer(listener_.port()).say("GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
  expect_dropped([&] { return listener_.counters().malformed; });
}

TEST_F(WireLinkTest, TakesNoPeerOfItsOwnRole) {
  RawPeer(listener_.port()).greet(WireRole::listener);
  expect_dropped([&] { return listener_.counters().malformed; });
}

TEST_F(WireLinkTest, TakesNoPayloadBeforeTheProof) {
  const RawPeer peer(listener_.port());
  peer.greet();
  peer.say(FrameWriter(SecretKey()).write({0, 0, "x"}));
  expect_dropped([&] { return listener_.counters().oversized; });
}

TEST_F(WireLinkTest, DropsWhoSendsAFrameTwice) {
  const RawPeer peer(listener_.port());
  FrameWriter writer = join(peer);
  const std::string frame = writer.write({4, 1, "kill"});
  peer.say(frame + frame);
  ASSERT_EQ(accepted_.size(), 1U);
  EXPECT_EQ(next(accepted_[0]), (Frame{4, 1, "kill"}));
  EXPECT_EQ(next(accepted_[0]), std::nullopt);
  EXPECT_EQ(accepted_[0].counters().replayed, 1U);
  EXPECT_THAT(accepted_[0].reason(), testing::HasSubstr("replayed"));
}

TEST_F(WireLinkTest, DropsWhoProvesTwice) {
  const RawPeer peer(listener_.port());
  FrameWriter writer = join(peer);
  peer.say(writer.write(Frame{}));
  ASSERT_EQ(accepted_.size(), 1U);
  EXPECT_EQ(next(accepted_[0]), std::nullopt);
  EXPECT_EQ(accepted_[0].counters().malformed, 1U);
}

TEST_F(WireLinkTest, HearsOnlyTheEpochsThatItWants) {
  WireLink agent = connect();
  ASSERT_TRUE(join(agent));
  accepted_[0].accept_epochs(5, 6);
  for (const int64_t epoch : {4, 5, 7, 6}) EXPECT_TRUE(agent.send({1, epoch, "digest"}));
  EXPECT_EQ(next(accepted_[0])->epoch, 5);
  EXPECT_EQ(next(accepted_[0])->epoch, 6);
  EXPECT_EQ(accepted_[0].counters().wrong_epoch, 2U);
  EXPECT_TRUE(accepted_[0].established());
}

TEST_F(WireLinkTest, APeerThatDoesNotReadFillsABoundedQueue) {
  WireLink agent = connect();
  ASSERT_TRUE(join(agent));
  const std::string payload(kMaxFramePayload, 'p');
  uint64_t sent = 0;
  while (sent < 100 && agent.send({1, static_cast<int64_t>(sent), payload})) ++sent;
  ASSERT_LT(sent, 100U);
  EXPECT_EQ(agent.counters().overflowed, 1U);
  EXPECT_TRUE(agent.wants_write());
  EXPECT_FALSE(agent.all_arrived());
  uint64_t heard = 0;
  EXPECT_TRUE(until([&] {
    (void)agent.receive();
    while (const auto frame = accepted_[0].receive()) EXPECT_EQ(frame->epoch, static_cast<int64_t>(heard++));
    return heard == sent;
  }));
  EXPECT_TRUE(agent.send({1, 1, "again"}));
  EXPECT_EQ(next(accepted_[0]), (Frame{1, 1, "again"}));
  EXPECT_TRUE(until([&] { return agent.all_arrived(); }));
}

TEST_F(WireLinkTest, WhoIsSilentAtTheDoorHoldsUpNobodyForLong) {
  WireListener listener({.half_open = 2, .handshake = 50ms}, secret_);
  const RawPeer one(listener.port()), two(listener.port()), three(listener.port());
  WireLink agent = WireLink::connect("127.0.0.1", listener.port(), secret_, Clock::now() + kWatchdog);
  std::vector<WireLink> links;
  EXPECT_TRUE(until([&] {
    links = listener.accept();
    (void)agent.receive();
    EXPECT_LE(listener.half_open(), 2U);
    return !links.empty();
  }));
  EXPECT_TRUE(until([&] { return (void)listener.accept(), listener.counters().timed_out == 3; }));
  pollfd event{listener.descriptor(), POLLIN, 0};
  EXPECT_EQ(::poll(&event, 1, 0), 0) << "nothing is left to do";
}

TEST_F(WireLinkTest, GivesUpOnASilentListener) {
  const UniqueDescriptor silent(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress any = SocketAddress::parse("127.0.0.1", 0);
  ASSERT_EQ(::bind(silent.get(), any.get(), any.size), 0);
  const uint16_t port = SocketAddress::of_socket(silent.get()).port();

  WireLink refused = WireLink::connect("127.0.0.1", port, secret_, Clock::now() + kWatchdog);
  EXPECT_TRUE(until([&] { return (void)refused.receive(), refused.closed(); }));
  EXPECT_THAT(refused.reason(), testing::HasSubstr("cannot connect"));

  ASSERT_EQ(::listen(silent.get(), 1), 0);
  WireLink link = WireLink::connect("127.0.0.1", port, secret_, Clock::now() + 20ms);
  EXPECT_TRUE(until([&] { return (void)link.receive(), link.closed(); }));
  EXPECT_EQ(link.counters().timed_out, 1U);
}

TEST_F(WireLinkTest, ListensAtOneInterfaceOnly) {
  for (const char* address : {"0.0.0.0", "::", "::ffff:0.0.0.0", "localhost", ""})
    EXPECT_THROW(WireListener({.address = address}, secret_), Error) << address;
  EXPECT_THROW(WireListener({.port = listener_.port()}, secret_), Error) << "taken";
}

TEST_F(WireLinkTest, TakesABurstOfAgents) {
  std::vector<WireLink> agents;
  agents.reserve(50);
  for (int i = 0; i < 50; ++i) agents.push_back(connect());
  EXPECT_TRUE(until([&] {
    accept();
    bool all = accepted_.size() == agents.size();
    for (WireLink& agent : agents) all = ((void)agent.receive(), agent.established()) && all;
    return all;
  }));
}

}  // namespace
}  // namespace trident
