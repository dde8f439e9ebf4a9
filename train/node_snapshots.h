#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/snapshot_view.h"

namespace trident {

/// Snapshots of a run in the shared memory of one node: of its ranks under this and earlier layouts, and copies of
/// other nodes'. Memory that is damaged or another run's is passed over.
class NodeSnapshots {
 public:
  /// All whose names begin with `prefix` and a dot.
  NodeSnapshots(const std::string& prefix, const std::string& run_id);

  /// A whole buffer.
  struct Held {
    int memory = 0;
    int buffer = 0;
    int rank = 0;   ///< whose state it is a part of
    int ranks = 1;  ///< of that layout
    SnapshotSeal seal;
  };
  [[nodiscard]] const std::vector<Held>& held() const { return held_; }
  [[nodiscard]] const std::string& name(const Held& held) const;
  [[nodiscard]] const std::string& description(const Held& held) const;
  [[nodiscard]] std::span<const std::byte> content(const Held& held) const;
  /// What is not as it was sealed.
  [[nodiscard]] std::optional<CheckpointProblem> problem_with(const Held& held) const;

  /// Training goes on from the state after `step`: later ones are emptied.
  void clear_after(int64_t step);
  /// Gives the system back all that other layouts left but the state after `step`; `layout` begins the names of this
  /// one. Returns whether that left anything.
  bool keep_of_others(const std::string& layout, int64_t step);
  void remove_others(const std::string& layout);

 private:
  struct Memory {
    std::string name;
    std::string description;
    SnapshotView view;
  };
  std::vector<Memory> memories_;
  std::vector<Held> held_;
};

}  // namespace trident
