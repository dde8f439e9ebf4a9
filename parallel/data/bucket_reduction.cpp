#include "parallel/data/bucket_reduction.h"

namespace trident {

void BucketReduction::start(const Stream& stream, int bucket) {
  if (flights_.size() == kInFlight) land_first();
  const size_t lane = (landed_ + flights_.size()) % kInFlight;
  flights_.push_back({depart(stream, bucket, lane), 0});
}

void BucketReduction::progress() {
  while (!flights_.empty()) {
    Flight& first = flights_.front();
    while (first.done < first.pending.size() && first.pending[first.done].test()) ++first.done;
    if (first.done < first.pending.size()) return;
    land_first();
  }
}

void BucketReduction::finish() {
  while (!flights_.empty()) land_first();
}

void BucketReduction::land_first() {
  Flight& first = flights_.front();
  for (; first.done < first.pending.size(); ++first.done) first.pending[first.done].wait();
  flights_.pop_front();
  ++landed_;
}

}  // namespace trident
