#pragma once

#include <deque>
#include <vector>

#include "core/device.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/flat_partition.h"

namespace trident {

/// Sums buckets of flat gradients over the ranks of a group: each rank ends with the sums of its own part of the bucket
/// (FlatPartition::part) in place; what the rest of its gradients then holds is unspecified. Buckets travel
/// one behind the other, started in the same order on every rank; no other collective call on the group meanwhile.
class BucketReduction {
 public:
  virtual ~BucketReduction() = default;
  /// Starts a bucket. Its gradients belong to the reduction until it is done; its sums are made by the stream's
  /// threads, inside whichever call of this rank moves its operations on.
  void start(const Stream& stream, int bucket);
  /// Moves on what can move without waiting.
  void progress();
  /// Waits for all started buckets.
  void finish();

 protected:
  /// Buckets that may be under way at once: one travels while the other waits behind it.
  static constexpr size_t kInFlight = 2;

 private:
  struct Flight {
    std::vector<Pending> pending;
    size_t done = 0;  // of pending
  };
  /// Starts all that the bucket needs. `lane` < kInFlight belongs to no other bucket until this one is done.
  virtual std::vector<Pending> depart(const Stream& stream, int bucket, size_t lane) = 0;
  void land_first();

  std::deque<Flight> flights_;
  size_t landed_ = 0;  // buckets; the first flight is in lane landed_ % kInFlight
};

}  // namespace trident
