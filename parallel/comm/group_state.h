#pragma once

#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/comm/device_transport.h"
#include "parallel/comm/pinned_pool.h"
#include "parallel/comm/staged_transfer.h"

namespace trident {

class ProgressEngine;

/// A call from its start until it is done.
class StartedOperation {
 public:
  ProgressRecord record;  // its group name is the state's
  CollectiveCall call;
  PeerMessage message;
  CommBuffer in, out;                           // keep tensors alive
  std::unique_ptr<DeviceOperation> native;      // in a device's own order; it has neither of the two below
  std::chrono::steady_clock::time_point since;  // of that
  std::unique_ptr<StagedTransfer> staged;       // of buffers on a device
  std::unique_ptr<Operation> operation;         // null until it may start
  bool done = false;
};

/// What the copies of one Communicator share: the queue of collective calls, and the messages under way.
class GroupState : public std::enable_shared_from_this<GroupState> {
 public:
  GroupState(std::shared_ptr<CommBackend> backend, std::string name, const CommOptions& options,
             std::shared_ptr<ProgressEngine> engine);

  Pending start_collective(CollectiveCall call, const CommBuffer& in, const CommBuffer& out);
  Pending start_message(CollectiveOp op, const CommBuffer& buffer, int peer, int tag);
  void wait(const StartedOperation& started);
  /// Moves this group's operations on; false when none is left.
  bool advance();
  /// Returns when the device has been given all that was started in the group.
  void launch_all();
  [[nodiscard]] std::string describe(const StartedOperation& started) const;
  /// What device buffers go through; a broken invariant before Communicator::set_stream().
  [[nodiscard]] const std::shared_ptr<PinnedPool>& need_staging() const;

  std::shared_ptr<CommBackend> backend;  // null for one rank
  std::string name;
  CommOptions options;
  std::shared_ptr<ProgressEngine> engine;
  std::shared_ptr<PinnedPool> staging;         // null until there is a device
  std::shared_ptr<DeviceTransport> transport;  // null: device buffers are staged
  Device device;                               // of set_stream()
  uint64_t sequence = 0;
  std::chrono::steady_clock::duration waited{};  // in wait()

 private:
  class WaitTold;

  bool advance(StartedOperation& started);
  bool start(StartedOperation& started);
  void complete(const std::shared_ptr<StartedOperation>& started);
  void settle(const StartedOperation& started);
  void advance_native();
  bool launch_native();
  void watch_device();
  [[noreturn]] void give_up(const std::string& problem, const std::string& remedy);
  [[nodiscard]] bool is_held(const StartedOperation& message) const;
  [[nodiscard]] bool on_device(const StartedOperation& started) const;
  void enter(const StartedOperation& started) const;
  void finish(StartedOperation& started);
  Pending launch(const std::shared_ptr<StartedOperation>& operation);
  void wait_for_others(const StartedOperation& started);
  [[noreturn]] void fail(const StartedOperation& started);

  std::deque<std::shared_ptr<StartedOperation>> collectives_;  // the first one runs
  std::vector<std::shared_ptr<StartedOperation>> messages_;    // all run
  std::deque<std::shared_ptr<StartedOperation>> native_;       // collectives on the device, in its order
  std::vector<std::shared_ptr<StartedOperation>> native_messages_;
  std::deque<std::shared_ptr<StartedOperation>> unpassed_;  // done for the host, but not yet by the device
};

/// All groups of one rank that have something under way. Whoever waits moves all of them: two ranks may wait for
/// operations of two groups in different order.
class ProgressEngine {
 public:
  void add(const std::shared_ptr<GroupState>& group);
  void advance();

 private:
  std::vector<std::weak_ptr<GroupState>> busy_;
};

}  // namespace trident
