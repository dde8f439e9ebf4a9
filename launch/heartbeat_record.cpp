#include "launch/heartbeat_record.h"

#include <algorithm>
#include <bit>

namespace trident {

size_t DurationCounts::bucket_of(int64_t nanoseconds) {
  if (nanoseconds < 2) return 0;
  const auto value = static_cast<uint64_t>(nanoseconds);
  const auto width = static_cast<size_t>(std::bit_width(value));
  return std::min<size_t>(2 * (width - 1) + (value >> (width - 2) & 1U), kBuckets - 1);
}

double DurationCounts::upper_seconds(size_t bucket) {
  const double lower = static_cast<double>(uint64_t{1} << std::min<size_t>(bucket / 2, 62));
  return 1e-9 * lower * (bucket % 2 == 0 ? 1.5 : 2.0);
}

uint64_t DurationCounts::total() const {
  uint64_t sum = 0;
  for (const uint32_t count : counts) sum += count;
  return sum;
}

double DurationCounts::quantile(double share) const {
  const uint64_t all = total();
  if (all == 0) return 0;
  uint64_t below = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    below += counts[i];
    if (static_cast<double>(below) >= share * static_cast<double>(all)) return upper_seconds(i);
  }
  return upper_seconds(kBuckets - 1);
}

void DurationCounts::add(const DurationCounts& other) {
  for (size_t i = 0; i < kBuckets; ++i) counts[i] += other.counts[i];
}

}  // namespace trident
