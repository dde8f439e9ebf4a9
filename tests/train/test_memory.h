#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/snapshot.h"
#include "tests/train/saving.h"

namespace trident::testing {

/// Shared memory of the test's own, gone when it ends; of several nodes if need be.
class TestMemory {
 public:
  TestMemory() : name_("/trident.test." + std::to_string(getpid())) { remove({}); }
  ~TestMemory() { remove({}); }
  TestMemory(const TestMemory&) = delete;
  TestMemory& operator=(const TestMemory&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string of_node(int node) const { return name_ + ".node" + std::to_string(node); }
  [[nodiscard]] std::vector<std::string> names(const std::string& part = {}) const {
    std::vector<std::string> names;
    for (const std::string& name : shared_memory_names(name_.substr(1)))
      if (name.find(part) != std::string::npos) names.push_back("/" + name);
    return names;
  }
  /// All whose names contain `part`, as when a node is lost.
  void remove(const std::string& part) const {
    for (const std::string& name : names(part)) SnapshotMemory::remove(name);
  }
  /// Flips one bit of a rank's snapshots of that step, as bad memory does. Returns how many there were.
  int flip(int rank, int64_t step, const std::string& part = {}) const {
    int flipped = 0;
    for (const std::string& name : names(part)) {
      const auto view = SnapshotView::open(name);
      if (!view || view->identity().rank != rank) continue;
      for (int index = 0; index < view->buffers(); ++index) {
        if (view->step(index) != step) continue;
        const_cast<std::byte&>(view->content(index)[77]) ^= std::byte{4};
        ++flipped;
      }
    }
    return flipped;
  }

 private:
  std::string name_;
};

/// What restoring says is damaged; told by one rank.
struct Damaged {
  std::vector<std::string> all{};
  std::function<void(const std::string&)> add = [this](const std::string& what) { all.push_back(what); };
};

/// The step that memory gives back, if any.
inline std::optional<int64_t> restored_step(Checkpointer& checkpointer, Damaged& damaged, int64_t at_least = -1) {
  const auto state = checkpointer.restore_newest(at_least, damaged.add);
  if (!state) return std::nullopt;
  EXPECT_EQ(state->seal.consumed_samples, 4 * state->seal.step);
  return state->seal.step;
}

inline void snapshot_now(Checkpointer& checkpointer, int64_t step) {
  checkpointer.snapshot(step, 4 * step);
  (void)checkpointer.wait_copied();
}

/// Every rank's live state becomes another one, of which nothing was saved.
inline void spoil(const Engine& engine) {
  const auto change = [](auto* values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) values[i] = values[i] * 2 + 1;
  };
  for (const OwnedPiece& piece : engine.pieces()) {
    for (const Tensor& tensor : {piece.master, piece.exp_avg, piece.exp_avg_sq}) {
      if (tensor.dtype() == DType::fp64)
        change(tensor.data<double>(), tensor.elements());
      else
        change(tensor.data<float>(), tensor.elements());
    }
  }
}

}  // namespace trident::testing
