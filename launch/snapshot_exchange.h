#pragma once

#include <poll.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "launch/copy_order.h"
#include "launch/copy_receiver.h"
#include "launch/copy_sender.h"
#include "launch/job_place.h"
#include "launch/unique_descriptor.h"

namespace trident {

/// A node's part in keeping every rank's state in another node's memory, too: sends and receives copies of snapshots,
/// on a thread of its own, as it is ordered. No member waits, but the last.
class SnapshotExchange {
 public:
  /// `address` is this node's, numeric. Throws Error where it cannot listen there.
  SnapshotExchange(JobPlace place, const std::string& address, const JobSecret& secret);
  ~SnapshotExchange();
  SnapshotExchange(const SnapshotExchange&) = delete;
  SnapshotExchange& operator=(const SnapshotExchange&) = delete;

  [[nodiscard]] const CopyAddress& address() const { return address_; }
  void follow(CopyOrder order);
  /// Nothing is sent or filled until the next order, once paused() says so: ranks may read what is here.
  void pause();
  [[nodiscard]] bool paused() const;
  /// The same, and all snapshots of the job on this node are removed.
  void remove_snapshots();
  [[nodiscard]] CopyState state() const;

  /// Readable once state() or paused() have changed, until looked(), which tells whether they had.
  [[nodiscard]] int descriptor() const { return news_.get(); }
  bool looked() const;

 private:
  void ask_to_pause(bool remove);
  void run(const std::stop_token& stop);
  [[nodiscard]] bool take_orders();
  void pause_if_asked();
  void remove_void();
  void publish();
  void wait(bool more) const;

  JobPlace place_;
  CopySender sender_;
  CopyReceiver receiver_;
  CopyAddress address_;
  UniqueDescriptor wake_, news_;
  CopyOrder followed_;      // by the thread
  bool swept_ = false;      // in this epoch
  bool listening_ = false;  // not paused
  std::string failure_;     // since the last pause

  mutable std::mutex mutex_;  // of what follows
  std::optional<CopyOrder> order_;
  bool pausing_ = false, paused_ = true, removing_ = false;
  CopyState state_;

  std::jthread thread_;  // last: it uses what is above
};

}  // namespace trident
