#include "core/exact_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace trident {
namespace {

constexpr int kFractionBits = 52;
constexpr int64_t kLimbMask = 0xffffffff;
constexpr int kLowestExponent = -1074;

/// A non-negative number in limbs of 32 bits each.
class Bits {
 public:
  explicit Bits(std::span<const int64_t> limbs) : limbs_(limbs) {}

  [[nodiscard]] int64_t highest() const {
    for (size_t i = limbs_.size(); i-- > 0;) {
      if (limbs_[i] != 0) return static_cast<int64_t>(32 * i) + std::bit_width(static_cast<uint64_t>(limbs_[i])) - 1;
    }
    return -1;
  }
  /// Bits [first, first + count), count at most 53.
  [[nodiscard]] uint64_t window(int64_t first, int count) const {
    uint64_t result = 0;
    for (int i = count; i-- > 0;) result = result << 1 | static_cast<uint64_t>(bit(first + i));
    return result;
  }
  [[nodiscard]] bool bit(int64_t position) const {
    // The top limb may hold more than its 32 bits.
    const size_t limb = std::min(static_cast<size_t>(position) / 32, limbs_.size() - 1);
    return (limbs_[limb] >> (position - static_cast<int64_t>(32 * limb)) & 1) != 0;
  }
  [[nodiscard]] bool any_below(int64_t position) const {
    for (int64_t i = 0; i < position; ++i) {
      if (bit(i)) return true;
    }
    return false;
  }

 private:
  std::span<const int64_t> limbs_;
};

double round_to_nearest(const Bits& bits) {
  const int64_t highest = bits.highest();
  if (highest <= kFractionBits)
    return std::ldexp(static_cast<double>(bits.window(0, kFractionBits + 1)), kLowestExponent);
  const int64_t lowest = highest - kFractionBits;  // last bit that is kept
  uint64_t mantissa = bits.window(lowest, kFractionBits + 1);
  if (bits.bit(lowest - 1) && ((mantissa & 1) != 0 || bits.any_below(lowest - 1))) ++mantissa;
  return std::ldexp(static_cast<double>(mantissa), static_cast<int>(lowest) + kLowestExponent);
}

}  // namespace

void ExactSum::add(double x) {
  const Term added = term(x);
  int64_t* word = words_.data() + added.first_word;
  for (size_t i = 0; i < added.parts.size(); ++i) word[i] += added.parts[i];
  if (++adds_ >= kAddsBeforeCarry) propagate_carries();
}

void ExactSum::add(const ExactSum& other) {
  for (size_t i = 0; i < kWords; ++i) words_[i] += other.words_[i];
  adds_ += other.adds_ + 1;
  if (adds_ >= kAddsBeforeCarry) propagate_carries();
}

void ExactSum::add_words(std::span<const int64_t, kWords> words) {
  propagate_carries();  // makes room for 2^30 terms: words of less than 2^62
  for (size_t i = 0; i < kWords; ++i) words_[i] += words[i];
  propagate_carries();
}

// Leaves every limb but the last, which carries the sign, in [0, 2^32).
void ExactSum::propagate_carries() {
  for (size_t i = 0; i + 1 < kLimbs; ++i) {
    words_[i + 1] += words_[i] >> 32;
    words_[i] &= kLimbMask;
  }
  adds_ = 0;
}

std::span<int64_t, ExactSum::kWords> ExactSum::words() {
  propagate_carries();
  // What the caller adds from other ranks is as if that many terms more had come.
  adds_ = int64_t{1} << 20;
  return words_;
}

double ExactSum::value() const {
  const bool positive = words_[kPositiveInfinities] > 0, negative = words_[kNegativeInfinities] > 0;
  if (words_[kNans] > 0 || (positive && negative)) return std::numeric_limits<double>::quiet_NaN();
  if (positive || negative) return positive ? HUGE_VAL : -HUGE_VAL;
  ExactSum sum = *this;
  sum.propagate_carries();
  const bool below_zero = sum.words_[kLimbs - 1] < 0;
  if (below_zero) {
    for (size_t i = 0; i < kLimbs; ++i) sum.words_[i] = -sum.words_[i];
    sum.propagate_carries();
  }
  const double magnitude = round_to_nearest(Bits(std::span(sum.words_).first<kLimbs>()));
  return below_zero ? -magnitude : magnitude;
}

}  // namespace trident
