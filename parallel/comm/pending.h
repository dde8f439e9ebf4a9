#pragma once

#include <memory>
#include <utility>

namespace trident {

class GroupState;
class StartedOperation;

/// An operation that was started. Its buffers belong to it until it is done; it is done for certain only after wait()
/// or a true test(). Dropping a Pending does not stop the operation,
/// dropping the last copy of its communicator as well does. Nothing moves in the background: any wait() or
/// test() of a rank moves all operations of that rank.
class [[nodiscard]] Pending {
 public:
  Pending() = default;  ///< already done
  Pending(std::shared_ptr<StartedOperation> operation, std::shared_ptr<GroupState> group)
      : operation_(std::move(operation)), group_(std::move(group)) {}

  /// Returns when the operation is done. Throws Error(peer_lost) after the communicator's timeout, or when a peer gave
  /// up; after that the communicator is of no use.
  void wait();
  /// Moves on what can move without waiting; true when the operation is done.
  bool test();

 private:
  std::shared_ptr<StartedOperation> operation_;
  std::shared_ptr<GroupState> group_;
};

}  // namespace trident
