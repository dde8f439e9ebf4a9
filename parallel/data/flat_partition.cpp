#include "parallel/data/flat_partition.h"

#include <algorithm>

#include "core/error.h"

namespace trident {

FlatPartition::FlatPartition(int64_t elements, int ranks, int64_t bucket_elements)
    : elements_(elements), ranks_(ranks) {
  TRIDENT_CHECK(elements >= 0 && ranks >= 1 && bucket_elements >= 1);
  const int64_t unit = kCell * ranks;
  bucket_elements_ = std::max<int64_t>(1, bucket_elements / unit) * unit;
}

int FlatPartition::buckets() const { return static_cast<int>((elements_ + bucket_elements_ - 1) / bucket_elements_); }

FlatSpan FlatPartition::bucket(int index) const {
  TRIDENT_CHECK(0 <= index && index < buckets());
  const int64_t begin = index * bucket_elements_;
  return {begin, std::min(elements_, begin + bucket_elements_)};
}

int64_t FlatPartition::equal_part(int index) const { return bucket(index).size() / (kCell * ranks_) * kCell; }

FlatSpan FlatPartition::remainder(int index) const {
  const FlatSpan whole = bucket(index);
  return {whole.begin + equal_part(index) * ranks_, whole.end};
}

FlatSpan FlatPartition::part(int index, int rank) const {
  TRIDENT_CHECK(0 <= rank && rank < ranks_);
  const FlatSpan whole = bucket(index);
  const int64_t size = equal_part(index), begin = whole.begin + rank * size;
  return {begin, rank + 1 == ranks_ ? whole.end : begin + size};
}

std::vector<FlatSpan> FlatPartition::owned(int rank) const {
  std::vector<FlatSpan> spans;
  for (int index = 0; index < buckets(); ++index) {
    const FlatSpan mine = part(index, rank);
    if (mine.size() == 0) continue;
    if (!spans.empty() && spans.back().end == mine.begin)
      spans.back().end = mine.end;
    else
      spans.push_back(mine);
  }
  return spans;
}

}  // namespace trident
