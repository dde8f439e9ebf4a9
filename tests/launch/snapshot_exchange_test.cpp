#include "launch/snapshot_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <map>
#include <thread>

#include "checkpoint/snapshot.h"
#include "launch/copy_messages.h"
#include "launch/node_messages.h"
#include "tests/launch/until.h"

namespace trident {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Clock = WireLink::Clock;

constexpr int64_t kBytes = kHashBlockBytes + 1000;
constexpr int64_t kEpoch = 4;

/// Two nodes, whose shared memory is this machine's under two names. Rank 0 is on the first, rank 1 on the second.
class SnapshotExchangeTest : public ::testing::Test {
 public:
  SnapshotExchangeTest() { forget(); }
  ~SnapshotExchangeTest() override {
    a_.reset();
    b_.reset();
    forget();
  }

 protected:
  void forget() const {
    for (const JobPlace& place : {place_a_, place_b_}) place.remove_snapshots();
  }
  SnapshotMemory& memory(int rank) {
    const std::string name = (rank == 0 ? place_a_ : place_b_).snapshots() + ".1a2b3c4d." + std::to_string(rank);
    const SnapshotIdentity identity{"run", rank, 2, {1, 2}, std::string(3000, 'd')};
    return memories_.try_emplace(rank, name, identity, kBytes, SnapshotMemory::kCopiedBuffers).first->second;
  }
  void fill(int rank, int buffer, int64_t step) {
    const auto to = memory(rank).begin_fill(buffer);
    std::memset(to.data(), static_cast<int>(step), to.size());
    BlockHasher hasher;
    hasher.update(to);
    memory(rank).end_fill(buffer, {step, step * 10, 1}, hasher.finish());
  }
  void order(int64_t base, int64_t next, int64_t epoch = kEpoch) {
    b_->follow({epoch, base, next, {{1, a_->address()}}, {0}});
    a_->follow({epoch, base, next, {{0, b_->address()}}, {1}});
  }
  [[nodiscard]] bool both_copied(int64_t step, int64_t epoch = kEpoch) const {
    return until([&] {
      const CopyState a = a_->state(), b = b_->state();
      return a.epoch == epoch && b.epoch == epoch && a.copied == step && b.copied == step;
    });
  }
  /// Steps of whole copies of that rank, each of which is verified.
  [[nodiscard]] std::vector<int64_t> copies(int rank) const {
    std::vector<int64_t> steps;
    const JobPlace& place = rank == 0 ? place_b_ : place_a_;
    const auto view = SnapshotView::open(place.snapshots() + ".1a2b3c4d." + std::to_string(rank) + ".copy");
    for (int buffer = 0; view && buffer < view->buffers(); ++buffer) {
      if (!view->step(buffer)) continue;
      EXPECT_FALSE(view->problem_with(buffer));
      EXPECT_EQ(view->content(buffer).back(), static_cast<std::byte>(*view->step(buffer)));
      steps.push_back(*view->step(buffer));
    }
    std::sort(steps.begin(), steps.end());
    return steps;
  }
  [[nodiscard]] std::vector<std::string> names_on_b() const {
    return shared_memory_names(place_b_.snapshots().substr(1) + ".");
  }
  /// Somebody who knows the secret, connected to the second node.
  [[nodiscard]] WireLink stranger() const {
    WireLink link = WireLink::connect("127.0.0.1", b_->address().port, secret_, Clock::now() + kWatchdog);
    EXPECT_TRUE(until([&] { return (void)link.receive(), link.established(); }));
    return link;
  }
  void expect_dropped(const Frame& frame) const {
    WireLink link = stranger();
    EXPECT_TRUE(link.send(frame));
    EXPECT_TRUE(until([&] { return (void)link.receive(), link.closed(); })) << "kind " << frame.kind;
  }
  [[nodiscard]] CopyAnswer refusal(const std::string& bytes) const {
    WireLink link = stranger();
    EXPECT_TRUE(link.send(frame_of(NodeMessage::piece, kEpoch, encode(SnapshotPiece{0, -1, 8, bytes}))));
    std::optional<Frame> frame;
    EXPECT_TRUE(until([&] { return (frame = link.receive()).has_value(); })) << bytes;
    return frame ? decode_copy_answer(frame->payload).value() : CopyAnswer{};
  }

  const std::string name_ = "/snapshot_exchange_test." + std::to_string(getpid());
  const JobPlace place_a_{name_ + ".a"}, place_b_{name_ + ".b"};
  const JobSecret secret_ = JobSecret::generate();
  std::optional<SnapshotExchange> a_{std::in_place, place_a_, "127.0.0.1", secret_};
  std::optional<SnapshotExchange> b_{std::in_place, place_b_, "127.0.0.1", secret_};
  std::map<int, SnapshotMemory> memories_;
};

TEST_F(SnapshotExchangeTest, AStepIsCopiedBothWaysOnceItIsSealed) {
  fill(0, 0, 7);
  fill(1, 0, 7);
  order(-1, 8);
  EXPECT_TRUE(until([&] { return memory(0).kept() == std::array<int64_t, 2>{-1, 8}; }));
  fill(0, 1, 8);
  EXPECT_TRUE(until([&] { return a_->state().copied == 8; }));
  EXPECT_THAT(copies(0), ElementsAre(8));
  EXPECT_EQ(b_->state().copied, -1) << "its own is not sealed";
  fill(1, 1, 8);
  EXPECT_TRUE(both_copied(8));
  order(8, 9);
  fill(0, 2, 9);
  fill(1, 2, 9);
  EXPECT_TRUE(both_copied(9));
  order(9, 10);
  EXPECT_TRUE(until([&] { return memory(1).kept() == std::array<int64_t, 2>{9, 10}; }));
  fill(0, 3, 10);
  fill(1, 3, 10);
  EXPECT_TRUE(both_copied(10));
  EXPECT_THAT(copies(0), ElementsAre(9, 10));
  EXPECT_THAT(copies(1), ElementsAre(9, 10));
}

TEST_F(SnapshotExchangeTest, AStepThatARankIsPastIsMissed) {
  fill(0, 0, 9);
  fill(1, 0, 8);
  order(-1, 8);
  EXPECT_TRUE(until([&] { return a_->state().missed == 8; }));
  EXPECT_EQ(a_->state().copied, -1);
  EXPECT_THAT(copies(0), IsEmpty());
}

TEST_F(SnapshotExchangeTest, ADamagedSnapshotIsRefused) {
  fill(0, 0, 8);
  fill(1, 0, 8);
  const_cast<std::byte&>(memory(0).content(0)[kHashBlockBytes + 5]) ^= std::byte{1};
  order(-1, 8);
  EXPECT_TRUE(until([&] { return a_->state().missed == 8 && b_->state().copied == 8; }));
  EXPECT_THAT(copies(0), IsEmpty());
  EXPECT_EQ(a_->state().problem, "");
}

// Its neighbours' memory is all that tells of a node that is off. No member waits for it.
TEST_F(SnapshotExchangeTest, AnEpochWithAnotherPartnerGoesOnAfterOneThatIsDead) {
  fill(0, 0, 8);
  fill(1, 0, 8);
  const CopyAddress dead{"127.0.0.1", 1};
  a_->follow({kEpoch, -1, 8, {{0, dead}}, {}});
  EXPECT_TRUE(until([&] { return a_->state().epoch == kEpoch; }));
  a_->pause();
  EXPECT_TRUE(until([&] { return a_->paused(); }));
  order(-1, 8, kEpoch + 1);
  EXPECT_TRUE(both_copied(8, kEpoch + 1));
}

TEST_F(SnapshotExchangeTest, WhatTheOrderDoesNotNameIsDropped) {
  order(-1, 8);
  EXPECT_TRUE(until([&] { return b_->state().epoch == kEpoch; }));
  const auto piece = [](int rank, const std::string& bytes) { return encode(SnapshotPiece{rank, -1, 8, bytes}); };
  expect_dropped(frame_of(NodeMessage::piece, kEpoch - 1, piece(0, "B{}")));
  expect_dropped(frame_of(NodeMessage::piece, kEpoch + 1, piece(0, "B{}")));
  expect_dropped(frame_of(NodeMessage::piece, kEpoch, piece(1, "B{}")));
  expect_dropped(frame_of(NodeMessage::piece, kEpoch, "short"));
  expect_dropped(frame_of(NodeMessage::report, kEpoch, piece(0, "B{}")));
  EXPECT_THAT(names_on_b(), IsEmpty());
}

TEST_F(SnapshotExchangeTest, WhatMakesNoSenseIsRefused) {
  order(-1, 8);
  EXPECT_TRUE(until([&] { return b_->state().epoch == kEpoch; }));
  const std::string facts =
      R"({"name":"1a2b3c4d.0","run_id":"run","rank":0,"ranks":2,"layout":"00000000000000010000000000000002",)"
      R"("bytes":BYTES,"description":4,"step":8,"samples":80,"gang":1})";
  const auto of_bytes = [&](const std::string& bytes) {
    std::string message = "B" + facts;
    return message.replace(message.find("BYTES"), 5, bytes);
  };
  for (const std::string& bytes : {std::string(), std::string("X"), std::string("B{}"), of_bytes("-1")}) {
    const CopyAnswer answer = refusal(bytes);
    EXPECT_EQ(answer.step, 8);
    EXPECT_NE(answer.refusal, "");
    EXPECT_FALSE(answer.no_room);
  }
  EXPECT_THAT(names_on_b(), IsEmpty());
}

// shm-exhausted, of the partner: the sender's node says so.
TEST_F(SnapshotExchangeTest, APartnerWithoutRoomIsToldOnce) {
  WireListener listener({}, secret_);
  fill(0, 0, 8);
  a_->follow({kEpoch, -1, 8, {{0, {"127.0.0.1", listener.port()}}}, {}});
  std::vector<WireLink> links;
  EXPECT_TRUE(until([&] {
    for (WireLink& link : listener.accept()) links.push_back(std::move(link));
    for (WireLink& link : links) {
      if (link.receive())
        (void)link.send(frame_of(NodeMessage::kept, kEpoch, encode(CopyAnswer{0, 8, true, "40 MiB are free"})));
    }
    return !a_->state().problem.empty();
  }));
  EXPECT_EQ(a_->state().problem, "40 MiB are free");
  EXPECT_TRUE(a_->state().hopeless);
  EXPECT_EQ(a_->state().copied, -1);
}

TEST_F(SnapshotExchangeTest, WhatIsPausedFillsNothing) {
  order(-1, 8);
  EXPECT_TRUE(until([&] { return a_->state().epoch == kEpoch && b_->state().epoch == kEpoch; }));
  b_->pause();
  EXPECT_TRUE(until([&] { return b_->paused(); }));
  fill(0, 0, 8);
  std::this_thread::sleep_for(50ms);
  EXPECT_THAT(names_on_b(), IsEmpty());
  order(-1, 8, kEpoch + 1);
  fill(1, 0, 8);
  EXPECT_TRUE(both_copied(8, kEpoch + 1));
}

TEST_F(SnapshotExchangeTest, WhatIsVoidIsRemovedOnceAStateOfTheEpochIsOnBothNodes) {
  const SnapshotIdentity identity{"run", 5, 6, {3, 4}, {}};
  for (const char* name : {".99999999.5", ".99999999.0.copy"})
    SnapshotMemory(place_b_.snapshots() + name, identity, 100, SnapshotMemory::kCopyBuffers);
  fill(0, 0, 8);
  fill(1, 0, 8);
  order(7, 8);
  EXPECT_TRUE(both_copied(8));
  EXPECT_EQ(names_on_b().size(), 4U) << "before, it may be what is gone back to";
  order(8, 9);
  EXPECT_TRUE(until([&] { return names_on_b().size() == 2; }));
  EXPECT_THAT(copies(0), ElementsAre(8));
}

TEST_F(SnapshotExchangeTest, RemovedSnapshotsDoNotComeBack) {
  fill(0, 0, 8);
  fill(1, 0, 8);
  order(-1, 8);
  EXPECT_TRUE(both_copied(8));
  b_->remove_snapshots();
  EXPECT_TRUE(until([&] { return b_->paused(); }));
  EXPECT_THAT(names_on_b(), IsEmpty());
  b_.reset();
  EXPECT_THAT(names_on_b(), IsEmpty());
}

}  // namespace
}  // namespace trident
