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
  /// Starts a bucket. Its gradients belong to the reduction until it is done.
  void start(const Stream& stream, int bucket);
  /// Moves on what can move without waiting.
  void progress(const Stream& stream);
  /// Waits for all started buckets.
  void finish(const Stream& stream);

 protected:
  /// Buckets that may be under way at once: one travels while the other is summed.
  static constexpr size_t kInFlight = 2;

 private:
  struct Flight {
    int bucket = 0;
    std::vector<Pending> pending;
    size_t done = 0;  // of pending
  };
  /// Starts the bucket's communication. `lane` < kInFlight belongs to no other bucket until arrive().
  virtual std::vector<Pending> depart(int bucket, size_t lane) = 0;
  /// The communication is done.
  virtual void arrive(const Stream& stream, int bucket, size_t lane) = 0;
  void land_first(const Stream& stream);

  std::deque<Flight> flights_;
  size_t landed_ = 0;  // buckets; the first flight is in lane landed_ % kInFlight
};

}  // namespace trident
