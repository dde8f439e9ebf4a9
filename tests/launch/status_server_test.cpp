#include "launch/status/status_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "core/error.h"
#include "launch/unique_descriptor.h"
#include "status_run.h"

namespace trident {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

int port_of(const StatusServer& server) { return std::stoi(server.url().substr(server.url().rfind(':') + 1)); }

enum class Waits { yes, no };

UniqueDescriptor connect_to(int port, Waits waits = Waits::yes) {
  UniqueDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (waits == Waits::yes ? 0 : SOCK_NONBLOCK), 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  (void)::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  return socket;
}

void send_text(const UniqueDescriptor& socket, const std::string& text) {
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t count = ::send(socket.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return;
    sent += static_cast<size_t>(count);
  }
}

// Everything until the server ends the connection.
std::string answer_to(int port, const std::string& request) {
  const UniqueDescriptor socket = connect_to(port);
  send_text(socket, request);
  std::string answer;
  char block[4096];
  for (ssize_t got = 0; (got = ::recv(socket.get(), block, sizeof(block), 0)) > 0;) answer.append(block, size_t(got));
  return answer;
}

std::string get(int port, const std::string& path, const std::string& more = "") {
  return answer_to(port, "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n");
}

size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

class StatusServerTest : public testing::Test {
 protected:
  StatusServerTest() {
    made_.step(1, 2.5);
    board_.publish(status_gang({2, 1, 1}, {1.0, 1.0}, 1), 1);
    server_ = std::make_unique<StatusServer>(StatusOptions{}, made_.run(), RunFacts{.run_name = "r"}, board_);
    port_ = port_of(*server_);
  }

  StatusRun made_;
  RankBoard board_;
  std::unique_ptr<StatusServer> server_;
  int port_ = 0;
};

TEST_F(StatusServerTest, AnswersItsFourPaths) {
  EXPECT_THAT(get(port_, "/"),
              testing::AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Security-Policy: default-src 'none'"),
                             HasSubstr("text/html"), HasSubstr("</html>")));
  EXPECT_THAT(get(port_, "/metrics"),
              testing::AllOf(HasSubstr("text/plain; version=0.0.4"), HasSubstr("\ntrident_step 1\n")));
  EXPECT_THAT(get(port_, "/healthz"),
              testing::AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("training: 2 ranks train\n")));
  const std::string state = get(port_, "/api/state?x=1");
  const auto json = nlohmann::json::parse(state.substr(state.find("\r\n\r\n")), nullptr, false);
  EXPECT_EQ(json["loss"], 2.5);
  EXPECT_THAT(get(port_, "/../../etc/passwd"), StartsWith("HTTP/1.1 404"));
}

TEST_F(StatusServerTest, HealthIsBadWhereTheRunMakesNoProgress) {
  EventRecord verdict{.event = RunEvent::verdict, .rank = 1, .cause = "hang", .detail = "rank 1 hangs"};
  made_.event(verdict);
  EXPECT_THAT(get(port_, "/healthz"), testing::AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("rank 1 hangs")));
}

TEST_F(StatusServerTest, IsOnlyReadAndOnlyByLoopbackNames) {
  EXPECT_THAT(answer_to(port_, "POST /api/state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\nx"),
              StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(answer_to(port_, "DELETE / HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"), StartsWith("HTTP/1.1 405"));
  for (const char* host : {"evil.example", "93.184.216.34:80", "127.evil.example", "127.0.0.1.evil.example:80", ""})
    EXPECT_THAT(answer_to(port_, std::string("GET /api/state HTTP/1.1\r\nHost: ") + host + "\r\n\r\n"),
                StartsWith("HTTP/1.1 403"))
        << host;
  EXPECT_THAT(answer_to(port_, "GET /healthz HTTP/1.1\r\nHost: [::1]:9\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST_F(StatusServerTest, SaysWhereItIsAsLongAsItIs) {
  const auto file = made_.run().status();
  std::ifstream stream(file);
  EXPECT_EQ(nlohmann::json::parse(stream)["url"], server_->url());
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(StatusServerTest, APortIsHadOnceOnly) {
  EXPECT_THROW(StatusServer({.port = port_}, made_.run(), {}, board_), Error);
  EXPECT_THROW(StatusServer({.address = "192.0.2.1"}, made_.run(), {}, board_), Error);
}

TEST(StatusServer, LeavesTheProcesssSignalsAlone) {
  struct sigaction before {
  }, after{};
  ::sigaction(SIGPIPE, nullptr, &before);
  const StatusRun made;
  const RankBoard board;
  const StatusServer server({}, made.run(), {}, board);
  ::sigaction(SIGPIPE, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

// Whatever is sent, the server answers the next who asks.
TEST_F(StatusServerTest, SurvivesRequestsThatAreNone) {
  const std::string big(1 << 20, 'a');
  answer_to(port_, "GET /" + big + " HTTP/1.1\r\n\r\n");
  answer_to(port_, "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + big + "\r\n\r\n");
  std::string many = "GET / HTTP/1.1\r\nHost: localhost\r\n";
  for (int i = 0; i < 20000; ++i) many += "X" + std::to_string(i) + ": 1\r\n";
  answer_to(port_, many + "\r\n");
  answer_to(port_, std::string("\0\xff\r\n\r\n", 6));
  answer_to(port_, "GET / HTTP/9\r\n\r\n");
  std::string ranges = "Range: bytes=0-1";
  while (ranges.size() < 7000) ranges += ",0-9999";
  EXPECT_LT(get(port_, "/", ranges + "\r\n").size(), size_t{1} << 20U) << "a page for every range";
  EXPECT_THAT(get(port_, "/healthz"), StartsWith("HTTP/1.1 200"));
}

// Two hundred connections that say nothing or little hold few descriptors of the supervisor's, do not hold it up, and
// are ended; nor do they hold up the server's end.
TEST_F(StatusServerTest, ConnectionsThatSayNothingHoldNothingUp) {
  constexpr size_t kConnections = 200;
  const size_t before = open_descriptors();
  std::vector<UniqueDescriptor> lazy;
  for (size_t i = 0; i < kConnections; ++i) {
    lazy.push_back(connect_to(port_, Waits::no));
    if (i % 2 == 0) send_text(lazy.back(), "GET /api/state HT");
  }
  for (int64_t step = 2; step < 2000; ++step) board_.publish(status_gang({2, 1, 1}, {1.0, 1.0}, step), 1);
  EXPECT_LE(open_descriptors(), before + kConnections + 8);
  // The first is ended for want of a request, not kept for as long as it likes.
  char byte = 0;
  send_text(lazy.front(), "T");
  pollfd ended{lazy.front().get(), POLLIN, 0};
  ASSERT_EQ(::poll(&ended, 1, 30'000), 1);
  EXPECT_LE(::recv(lazy.front().get(), &byte, 1, 0), 0);
  server_.reset();
}

// A byte now and then does not keep a connection.
TEST_F(StatusServerTest, SlowRequestsAreEnded) {
  const UniqueDescriptor slow = connect_to(port_);
  bool ended = false;
  for (int i = 0; i < 300 && !ended; ++i) {
    send_text(slow, "G");
    pollfd event{slow.get(), POLLIN, 0};
    ended = ::poll(&event, 1, 100) == 1;
  }
  EXPECT_TRUE(ended);
}

TEST_F(StatusServerTest, ServesManyAtATime) {
  std::atomic<int> good = 0;
  std::vector<std::thread> askers;
  askers.reserve(8);
  for (int i = 0; i < 8; ++i)
    askers.emplace_back([&] {
      for (int k = 0; k < 10; ++k) good += get(port_, "/metrics").starts_with("HTTP/1.1 200") ? 1 : 0;
    });
  for (int64_t step = 2; step < 200; ++step) {
    board_.publish(status_gang({2, 1, 1}, {1.0, 1.0}, step), 1);
    made_.step(step, 1.0);
  }
  for (std::thread& asker : askers) asker.join();
  EXPECT_EQ(good, 80);
}

}  // namespace
}  // namespace trident
