#pragma once

#include <cstdint>
#include <vector>

namespace trident {

/// Elements [begin, end) of flat storage.
struct FlatSpan {
  int64_t begin = 0;
  int64_t end = 0;
  [[nodiscard]] int64_t size() const { return end - begin; }
  bool operator==(const FlatSpan&) const = default;
};

/// Who reduces, steps and sends out which part of the flat parameter space. The space is cut into buckets, every bucket
/// into one contiguous part for each rank: equal parts, so that library collectives apply, plus a remainder in the last
/// bucket, which the last rank owns. Parts start at multiples of kCell elements. Where all is remainder, the parts of
/// the other ranks are empty.
class FlatPartition {
 public:
  /// Parameter groups start at multiples of it in flat storage: what is summed cell by cell (squares of gradients) has
  /// the same terms for any number of ranks, and for any other groups before it.
  static constexpr int64_t kCell = 64;

  /// Buckets have about `bucket_elements` elements.
  FlatPartition(int64_t elements, int ranks, int64_t bucket_elements);

  [[nodiscard]] int64_t elements() const { return elements_; }
  [[nodiscard]] int ranks() const { return ranks_; }
  [[nodiscard]] int buckets() const;
  [[nodiscard]] FlatSpan bucket(int index) const;
  /// The part that collectives of equal parts handle: this many elements for every rank, from the bucket's start.
  [[nodiscard]] int64_t equal_part(int index) const;
  /// What is left of the bucket, at its end.
  [[nodiscard]] FlatSpan remainder(int index) const;
  /// What `rank` owns of a bucket.
  [[nodiscard]] FlatSpan part(int index, int rank) const;
  /// All that `rank` owns, neighbours joined.
  [[nodiscard]] std::vector<FlatSpan> owned(int rank) const;

 private:
  int64_t elements_;
  int ranks_;
  int64_t bucket_elements_;
};

}  // namespace trident
