#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/gang.h"
#include "parallel/comm/device_mesh.h"

namespace trident {

/// Decides which states the nodes copy to one another's memory, one after the other: a step that no rank has come to
/// yet, so that all keep it, and the next one once its parts are everywhere. So there always is a state of which every
/// part is on two nodes, however slow the copies are; and where they are quick it is that of the last step but one.
class CopyRounds {
 public:
  /// `interval`: steps between snapshots; 0: there are none.
  explicit CopyRounds(int64_t interval) : interval_(interval) {}

  /// An epoch begins. Its nodes outlive it.
  void begin(int64_t epoch, const MeshShape& mesh, const MeshOrder& order, const std::vector<GangShare>& shares);
  /// Tells the nodes what to do next, if there is news. `newest`: the last step of which some rank has a snapshot; -1:
  /// none. Returns why nothing is copied, once an epoch.
  [[nodiscard]] std::optional<std::string> advance(int64_t newest);

  /// The state after this step is on two nodes; -1: none.
  [[nodiscard]] int64_t base() const { return base_; }

 private:
  /// A rank's node, and that of its copy, as numbers of shares.
  struct Way {
    size_t from = 0, to = 0;
    [[nodiscard]] bool operator==(const Way&) const = default;
  };

  void send_orders(int64_t next);
  void choose_next(int64_t newest, bool copied);

  int64_t interval_;
  int64_t epoch_ = 0;
  std::vector<GangShare> shares_;  // empty: nothing is copied
  std::vector<std::string> hosts_;
  std::vector<Way> ways_;  // by rank
  int64_t base_ = -1;
  int64_t next_ = -1;
  int64_t lead_ = 1;   // snapshots from the newest to the next one that is copied
  bool told_ = false;  // of a problem
};

}  // namespace trident
