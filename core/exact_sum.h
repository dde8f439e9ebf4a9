#pragma once

#include <array>
#include <bit>
#include <cstddef>
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

  /// What one double adds to the words, each less than 2^32: parts[i] to word first_word + i.
  struct Term {
    size_t first_word = 0;
    std::array<int64_t, 3> parts{};
  };
  /// For sums that are formed elsewhere, on GPUs too.
  [[nodiscard]] static constexpr Term term(double x);
  /// Adds the words of such a sum, of at most 2^30 terms.
  void add_words(std::span<const int64_t, kWords> words);

 private:
  // Word i counts multiples of 2^(32·i − 1074), the smallest subnormal being 2^−1074. Words may be negative and larger
  // than 32 bits until carries are propagated.
  static constexpr size_t kLimbs = 67;
  static constexpr size_t kPositiveInfinities = 67, kNegativeInfinities = 68, kNans = 69;
  static constexpr int64_t kAddsBeforeCarry = int64_t{1} << 29;

  void propagate_carries();

  std::array<int64_t, kWords> words_{};
  int64_t adds_ = 0;  // since carries were propagated; each changes a limb by less than 2^32
};

constexpr ExactSum::Term ExactSum::term(double x) {
  constexpr int kFractionBits = 52;
  constexpr uint64_t kExponentMask = 0x7ff, kLimbMask = 0xffffffff;
  const auto word = std::bit_cast<uint64_t>(x);
  const bool negative = word >> 63 != 0;
  const uint64_t exponent = word >> kFractionBits & kExponentMask;
  const uint64_t fraction = word & ((uint64_t{1} << kFractionBits) - 1);
  if (exponent == kExponentMask) {
    const bool nan = fraction != 0;
    return {kPositiveInfinities, {!nan && !negative ? 1 : 0, !nan && negative ? 1 : 0, nan ? 1 : 0}};
  }
  const uint64_t mantissa = exponent == 0 ? fraction : fraction | uint64_t{1} << kFractionBits;
  const uint64_t position = exponent == 0 ? 0 : exponent - 1;  // of the mantissa's last bit
  const uint64_t shift = position % 32;
  const uint64_t low = mantissa << shift, high = mantissa >> 32 >> (32 - shift);
  const int64_t sign = negative ? -1 : 1;
  return {position / 32,
          {sign * static_cast<int64_t>(low & kLimbMask), sign * static_cast<int64_t>(low >> 32),
           sign * static_cast<int64_t>(high)}};
}

}  // namespace trident
