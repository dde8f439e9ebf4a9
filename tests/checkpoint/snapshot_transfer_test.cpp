#include "checkpoint/snapshot_transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace trident {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kBytes = 2 * kHashBlockBytes + 1000;

/// Memory of a rank on one node, and the copy of it on another.
class SnapshotTransfer : public ::testing::Test {
 public:
  ~SnapshotTransfer() override {
    for (const char* name : {".node0.1a2b3c4d.3", ".node1.1a2b3c4d.3.copy"}) SnapshotMemory::remove(prefix_ + name);
  }

 protected:
  void fill(int buffer, int64_t step, char value) {
    const auto to = own_.begin_fill(buffer);
    std::memset(to.data(), value, to.size());
    BlockHasher hasher;
    hasher.update(to);
    own_.end_fill(buffer, {step, step * 10, 1}, hasher.finish());
  }
  [[nodiscard]] SnapshotSender sender(int64_t step) const { return {prefix_ + ".node0", 3, step}; }
  /// Until there is nothing to send.
  void send_all(SnapshotSender& sender) {
    while (const auto message = sender.next(kMessage)) receiver_.take(*message);
  }
  void send(int64_t step) {
    SnapshotSender all = sender(step);
    send_all(all);
    EXPECT_TRUE(all.sent());
  }
  [[nodiscard]] std::optional<SnapshotView> copy() const {
    return SnapshotView::open(prefix_ + ".node1.1a2b3c4d.3.copy");
  }
  void expect_copy(int64_t step, char value) const {
    const auto view = copy();
    ASSERT_TRUE(view);
    EXPECT_EQ(view->identity().description, identity_.description);
    EXPECT_EQ(view->identity().rank, 3);
    bool found = false;
    for (int buffer = 0; buffer < view->buffers(); ++buffer) {
      if (view->step(buffer) != step) continue;
      found = true;
      EXPECT_EQ(view->seal(buffer), (SnapshotSeal{step, step * 10, 1}));
      EXPECT_FALSE(view->problem_with(buffer));
      EXPECT_EQ(view->content(buffer).back(), static_cast<std::byte>(value));
    }
    EXPECT_TRUE(found) << step;
  }

  static constexpr size_t kMessage = size_t{1} << 20;
  std::string prefix_ = "/trident.test." + std::to_string(getpid());
  SnapshotIdentity identity_{"run", 3, 4, {1, 2}, std::string(3000, 'd')};
  SnapshotMemory own_{prefix_ + ".node0.1a2b3c4d.3", identity_, kBytes, SnapshotMemory::kBuffers};
  SnapshotReceiver receiver_{prefix_ + ".node1"};
};

TEST_F(SnapshotTransfer, AStepIsCopiedOnceItIsSealed) {
  SnapshotSender eight = sender(8);
  EXPECT_FALSE(eight.next(kMessage));
  fill(0, 7, 'a');
  EXPECT_FALSE(eight.next(kMessage));
  EXPECT_FALSE(eight.gone());
  fill(1, 8, 'b');
  send_all(eight);
  EXPECT_TRUE(eight.sent());
  EXPECT_EQ(receiver_.received_step(), 8);
  expect_copy(8, 'b');
  EXPECT_FALSE(eight.next(kMessage));
  fill(2, 9, 'c');
  send(9);
  expect_copy(8, 'b');
  expect_copy(9, 'c');
}

TEST_F(SnapshotTransfer, MessagesStayWithinTheirBound) {
  fill(0, 7, 'a');
  SnapshotSender seven = sender(7);
  while (const auto message = seven.next(1024)) {
    EXPECT_LE(message->size(), 1024U);
    receiver_.take(*message);
  }
  expect_copy(7, 'a');
}

TEST_F(SnapshotTransfer, ASnapshotThatIsFilledAnewIsGone) {
  fill(0, 7, 'a');
  SnapshotSender seven = sender(7);
  for (int i = 0; i < 4; ++i) receiver_.take(seven.next(kMessage).value());
  fill(0, 8, 'b');
  EXPECT_FALSE(seven.next(kMessage));
  EXPECT_TRUE(seven.gone());
  SnapshotSender missed = sender(7);
  EXPECT_FALSE(missed.next(kMessage));
  EXPECT_TRUE(missed.gone());
  send(8);
  EXPECT_EQ(receiver_.received_step(), 8);
  expect_copy(8, 'b');
}

TEST_F(SnapshotTransfer, AnotherLayoutsMemoryOfTheRankHasOlderSteps) {
  const std::string name = prefix_ + ".node0.00000000.3";
  {
    SnapshotMemory other(name, identity_, kBytes, SnapshotMemory::kBuffers);
    BlockHasher hasher;
    hasher.update(other.begin_fill(0));
    other.end_fill(0, {6, 60, 1}, hasher.finish());
  }
  fill(0, 7, 'a');
  send(7);
  SnapshotMemory::remove(name);
  expect_copy(7, 'a');
}

TEST_F(SnapshotTransfer, TheCopyThatIsKeptIsNotOverwritten) {
  fill(0, 7, 'a');
  fill(1, 8, 'b');
  fill(2, 9, 'c');
  send(7);
  send(8);
  receiver_.keep(7);
  send(9);
  expect_copy(7, 'a');
  expect_copy(9, 'c');
}

TEST_F(SnapshotTransfer, WhatIsThereDoesNotComeAgain) {
  fill(0, 7, 'a');
  send(7);
  SnapshotSender again = sender(7);
  receiver_.take(again.next(kMessage).value());
  EXPECT_EQ(receiver_.received_step(), 7);
  receiver_.take(again.next(kMessage).value());  // the rest passes
  expect_copy(7, 'a');
}

TEST_F(SnapshotTransfer, WhatIsNotAsItWasSealedIsNotKept) {
  fill(0, 7, 'a');
  send(7);
  fill(1, 8, 'b');
  const_cast<std::byte&>(own_.content(1)[kHashBlockBytes + 5]) ^= std::byte{1};
  SnapshotSender eight = sender(8);
  try {
    send_all(eight);
    FAIL() << "taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("block 1 of step 8 of rank 3 is not what was sealed"));
  }
  send_all(eight);  // the rest of it passes
  EXPECT_EQ(receiver_.received_step(), 7);
  expect_copy(7, 'a');
  fill(2, 9, 'c');
  send(9);
  expect_copy(9, 'c');
}

TEST_F(SnapshotTransfer, MessagesOutOfOrderAreNotWhatWasSealed) {
  const auto to = own_.begin_fill(0);
  for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::byte>(i / kMessage);
  BlockHasher hasher;
  hasher.update(to);
  own_.end_fill(0, {7, 70, 1}, hasher.finish());
  SnapshotSender seven = sender(7);
  std::vector<std::string> messages;
  while (auto message = seven.next(kMessage)) messages.push_back(*message);
  std::swap(messages[3], messages[4]);
  EXPECT_THROW(for (const auto& message : messages) receiver_.take(message), Error);
  EXPECT_EQ(receiver_.received_step(), -1);
}

TEST_F(SnapshotTransfer, ASenderThatDiesLeavesTheCopyBefore) {
  fill(0, 7, 'a');
  send(7);
  fill(1, 8, 'b');
  SnapshotSender eight = sender(8);
  for (int i = 0; i < 5; ++i) receiver_.take(eight.next(kMessage).value());
  expect_copy(7, 'a');
}

TEST_F(SnapshotTransfer, WhatMakesNoSenseIsRefused) {
  const std::string facts =
      R"({"name":"1a2b3c4d.3","run_id":"run","rank":3,"ranks":4,"layout":"00000000000000010000000000000002",)"
      R"("bytes":1000,"description":4,"step":7,"samples":70,"gang":1})";
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = "B" + facts;
    return changed.replace(changed.find(from), from.size(), to);
  };
  for (const std::string& message :
       {std::string(), std::string("X"), std::string("B"), std::string("B[]"), std::string("B{}"),
        with("1a2b3c4d.3", "../other"), with("1a2b3c4d.3", ""), with("\"rank\":3", "\"rank\":4"),
        with("\"rank\":3", "\"rank\":-1"), with("\"bytes\":1000", "\"bytes\":-1"),
        with("\"bytes\":1000", "\"bytes\":9000000000000000000"), with("\"description\":4", "\"description\":-4"),
        with("\"description\":4", "\"description\":100000000"), with("\"step\":7", "\"step\":-7"),
        with("\"step\":7", "\"step\":\"7\""), with("0000000000000001", "zz")}) {
    EXPECT_THROW(receiver_.take(message), Error) << message;
  }
  receiver_.take("P of nothing that has begun");
  receiver_.take("B" + facts);
  receiver_.take("P" + std::string(4, 'd') + std::string(8, '\0'));
  EXPECT_THROW(receiver_.take("P" + std::string(1001, 'x')), Error) << "more than it has";
  EXPECT_FALSE(copy()->step(0));
  EXPECT_EQ(receiver_.received_step(), -1);
}

}  // namespace
}  // namespace trident
