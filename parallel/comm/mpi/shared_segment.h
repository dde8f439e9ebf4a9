#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "parallel/comm/mpi/mpi_comm.h"
#include "parallel/comm/shared_group.h"

namespace trident {

/// Memory that the processes of one node share: an equal, zeroed stretch for every rank. It has no name in any file
/// system and is gone when the last process unmaps it or dies.
class SharedSegment {
 public:
  /// Collective over the ranks of one node. Null on every rank if any of them cannot map it.
  static std::shared_ptr<SharedSegment> create(const MpiComm& node, size_t bytes_per_rank);
  ~SharedSegment();
  SharedSegment(const SharedSegment&) = delete;
  SharedSegment& operator=(const SharedSegment&) = delete;

  [[nodiscard]] std::byte* part(int rank) const { return base_ + static_cast<size_t>(rank) * stride_; }
  [[nodiscard]] size_t stride() const { return stride_; }
  /// Enters all pages into this process's tables: page faults inside a collective would cost more than it does.
  void populate() const;

 private:
  SharedSegment(std::byte* base, size_t stride, size_t bytes) : base_(base), stride_(stride), bytes_(bytes) {}

  std::byte* base_;
  size_t stride_;
  size_t bytes_;
};

/// The segments that a group's tensors may lie in, numbered in order of their creation, the same on every rank.
class SegmentSpace final : public AddressSpace {
 public:
  explicit SegmentSpace(int rank) : rank_(rank) {}
  void add(const std::shared_ptr<SharedSegment>& segment);

  [[nodiscard]] uint64_t publish(const std::byte* data, size_t bytes) const override;
  [[nodiscard]] std::byte* resolve(uint64_t word, int peer) const override;

 private:
  static constexpr int kOffsetBits = 48;
  int rank_;
  std::vector<std::weak_ptr<SharedSegment>> segments_;  // expired ones keep their number
};

}  // namespace trident
