#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace trident {

/// Interleaves several sources by weight: a pure function from the global sample index to (source, how many samples of
/// that source came before). After any number g of samples, each source has given g·weight samples give or take less
/// than one.
///
/// The order has a period W, the common denominator of the weights; weights that have none up to 2^16 are rounded to
/// the best one there or to 2^20, at least one slot each (weight() tells). One period is laid out once by earliest
/// deadline first over the windows in which the count stays within one of its share: the Pfair rule of Baruah, Cohen,
/// Plaxton and Varvel (Algorithmica 15, 1996), which always succeeds on full load. A look-up is then constant time.
class Mixture {
 public:
  struct Pick {
    int64_t source;
    int64_t index;  ///< how many earlier samples came from this source
  };

  /// Weights are positive and finite and need not add up to one. Throws Error otherwise.
  explicit Mixture(std::span<const double> weights);

  Pick at(int64_t sample) const;

  int64_t period() const { return period_; }
  /// The share of a source that is really kept.
  double weight(int64_t source) const {
    return static_cast<double>(shares_[static_cast<size_t>(source)]) / static_cast<double>(period_);
  }

 private:
  struct Slot {
    int32_t source;
    int32_t rank;  // among this source's slots of the period
  };
  void lay_out();

  int64_t period_ = 1;
  std::vector<int64_t> shares_;  // slots of each source in a period
  std::vector<Slot> slots_;
};

}  // namespace trident
