#include "parallel/data/bucket_reduction.h"

namespace trident {

void BucketReduction::start(const Stream& stream, int bucket) {
  if (flights_.size() == kInFlight) land_first(stream);
  const size_t lane = (landed_ + flights_.size()) % kInFlight;
  flights_.push_back({bucket, depart(bucket, lane), 0});
}

void BucketReduction::progress(const Stream& stream) {
  while (!flights_.empty()) {
    Flight& first = flights_.front();
    while (first.done < first.pending.size() && first.pending[first.done].test()) ++first.done;
    if (first.done < first.pending.size()) return;
    land_first(stream);
  }
}

void BucketReduction::finish(const Stream& stream) {
  while (!flights_.empty()) land_first(stream);
}

void BucketReduction::land_first(const Stream& stream) {
  Flight& first = flights_.front();
  for (; first.done < first.pending.size(); ++first.done) first.pending[first.done].wait();
  arrive(stream, first.bucket, landed_ % kInFlight);
  flights_.pop_front();
  ++landed_;
}

}  // namespace trident
