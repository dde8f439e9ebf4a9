#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace trident {

/// The sum of any doubles without rounding: a fixed-point number wide enough for all of them, so that neither the order
/// of the terms nor how they were spread over ranks can change a bit of the result. The "small superaccumulator" of
/// Neal, "Fast exact summation using small and large superaccumulators", 2015 (after Kulisch's long accumulator).
class ExactSum {
 public:
  void add(double x);
  void add(const ExactSum& other);
  /// The sum, rounded once, to nearest even. NaN if any term was, or if infinities of both signs were.
  [[nodiscard]] double value() const;

  /// The whole state as integers: the element-wise int64 sum of the words of up to 2^20 sums is their sum's words.
  static constexpr size_t kWords = 70;
  [[nodiscard]] std::span<int64_t, kWords> words();

 private:
  // Word i counts multiples of 2^(32·i − 1074), the smallest subnormal being 2^−1074. Words may be negative and larger
  // than 32 bits until carries are propagated.
  static constexpr size_t kLimbs = 67;
  static constexpr size_t kPositiveInfinities = 67, kNegativeInfinities = 68, kNans = 69;
  static constexpr int64_t kAddsBeforeCarry = int64_t{1} << 29;

  void propagate_carries();
  void count_special(double x);

  std::array<int64_t, kWords> words_{};
  int64_t adds_ = 0;  // since carries were propagated; each changes a limb by less than 2^32
};

}  // namespace trident
