#include "train/node_snapshots.h"

#include <utility>

#include "checkpoint/snapshot.h"
#include "core/error.h"

namespace trident {

NodeSnapshots::NodeSnapshots(const std::string& prefix, const std::string& run_id) {
  for (const std::string& file : shared_memory_names(prefix.substr(prefix.find_first_not_of('/')) + ".")) {
    std::string name = "/" + file;
    auto view = SnapshotView::open(name);
    if (!view) continue;
    SnapshotIdentity identity = view->identity();
    if (identity.run_id != run_id) continue;
    for (int buffer = 0; buffer < view->buffers(); ++buffer) {
      if (const auto seal = view->seal(buffer))
        held_.push_back({static_cast<int>(memories_.size()), buffer, identity.rank, identity.ranks, *seal});
    }
    memories_.push_back({std::move(name), std::move(identity.description), std::move(*view)});
  }
}

const std::string& NodeSnapshots::name(const Held& held) const {
  return memories_[static_cast<size_t>(held.memory)].name;
}

const std::string& NodeSnapshots::description(const Held& held) const {
  return memories_[static_cast<size_t>(held.memory)].description;
}

std::span<const std::byte> NodeSnapshots::content(const Held& held) const {
  return memories_[static_cast<size_t>(held.memory)].view.content(held.buffer);
}

std::optional<CheckpointProblem> NodeSnapshots::problem_with(const Held& held) const {
  const SnapshotView& view = memories_[static_cast<size_t>(held.memory)].view;
  auto problem = view.problem_with(held.buffer);
  if (!problem && view.seal(held.buffer) != held.seal) problem = CheckpointProblem{.detail = "it is being filled anew"};
  if (problem) problem->file = name(held);
  return problem;
}

void NodeSnapshots::clear_after(int64_t step) {
  for (Memory& memory : memories_) memory.view.clear_after(step);
}

bool NodeSnapshots::keep_of_others(const std::string& layout, int64_t step) {
  bool kept = false;
  for (Memory& memory : memories_) {
    if (memory.name.starts_with(layout)) continue;
    if (memory.view.release_but(step)) {
      kept = true;
    } else {
      SnapshotMemory::remove(memory.name);
    }
  }
  return kept;
}

void NodeSnapshots::remove_others(const std::string& layout) {
  for (const Memory& memory : memories_) {
    if (!memory.name.starts_with(layout)) SnapshotMemory::remove(memory.name);
  }
}

}  // namespace trident
