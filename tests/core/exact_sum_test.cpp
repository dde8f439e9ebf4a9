#include "core/exact_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace trident {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double exact_sum(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.add(term);
  return sum.value();
}

/// A signed integer of any size in bits, as schoolbook arithmetic on single bits: slow and plain.
class BigInteger {
 public:
  /// Adds mantissa · 2^position.
  void add(int64_t mantissa, size_t position) {
    int64_t carry = mantissa;
    for (size_t i = position; carry != 0 && i < bits_.size(); ++i) {
      carry += bits_[i];
      bits_[i] = static_cast<int>(carry & 1);
      carry >>= 1;
    }
  }
  /// The nearest multiple of 2^−1074 with 53 bits, ties to even.
  [[nodiscard]] double round(int lowest_exponent) const {
    std::vector<int> bits = bits_;
    const bool negative = bits.back() == 1;
    if (negative) negate(bits);
    size_t top = bits.size();
    while (top > 0 && bits[top - 1] == 0) --top;
    const size_t drop = top > 53 ? top - 53 : 0;
    double magnitude = 0;
    for (size_t i = top; i-- > drop;) magnitude = 2 * magnitude + bits[i];
    const bool half = drop > 0 && bits[drop - 1] == 1;
    const bool more = drop > 0 && std::find(bits.begin(), bits.begin() + static_cast<int64_t>(drop) - 1, 1) !=
                                      bits.begin() + static_cast<int64_t>(drop) - 1;
    if (half && (more || bits[drop] == 1)) magnitude += 1;
    return std::ldexp(negative ? -magnitude : magnitude, static_cast<int>(drop) + lowest_exponent);
  }

 private:
  static void negate(std::vector<int>& bits) {
    int carry = 1;
    for (int& bit : bits) {
      const int flipped = 1 - bit + carry;
      bit = flipped & 1;
      carry = flipped >> 1;
    }
  }
  std::vector<int> bits_ = std::vector<int>(2200);
};

double reference_sum(const std::vector<double>& terms) {
  BigInteger sum;
  for (const double term : terms) {
    int exponent = 0;
    const auto mantissa = static_cast<int64_t>(std::ldexp(std::frexp(term, &exponent), 53));
    const int position = exponent - 53 + 1074;
    if (position >= 0)
      sum.add(mantissa, static_cast<size_t>(position));
    else
      sum.add(mantissa / (int64_t{1} << -position), 0);  // a subnormal: no bit is lost
  }
  return sum.round(-1074);
}

double random_double(std::mt19937_64& random, int lowest_exponent, int highest_exponent) {
  const double mantissa = 1.0 + static_cast<double>(random() >> 12) * 0x1p-52;
  std::uniform_int_distribution<int> exponent(lowest_exponent, highest_exponent);
  return std::ldexp((random() & 1) != 0 ? mantissa : -mantissa, exponent(random));
}

TEST(ExactSum, EqualsBigIntegers) {
  std::mt19937_64 random(1);
  const int ranges[][2] = {{-1074, 1020}, {-1074, -1000}, {-3, 3}, {-60, 60}, {980, 1015}};
  for (int trial = 0; trial < 300; ++trial) {
    const auto& range = ranges[trial % 5];
    std::vector<double> terms(1 + random() % 40);
    for (double& term : terms) term = random_double(random, range[0], range[1]);
    const double expected = reference_sum(terms);
    EXPECT_EQ(std::bit_cast<uint64_t>(exact_sum(terms)), std::bit_cast<uint64_t>(expected)) << "trial " << trial;
  }
}

TEST(ExactSum, NoOrderAndNoGroupingChangesABit) {
  std::mt19937_64 random(2);
  std::vector<double> terms(1000);
  for (double& term : terms) term = random_double(random, -200, 200);
  const double expected = exact_sum(terms);
  for (int trial = 0; trial < 20; ++trial) {
    std::shuffle(terms.begin(), terms.end(), random);
    std::vector<ExactSum> parts(1 + random() % 9);
    for (const double term : terms) parts[random() % parts.size()].add(term);
    ExactSum total;
    for (const ExactSum& part : parts) total.add(part);
    EXPECT_EQ(total.value(), expected);
  }
}

TEST(ExactSum, CancelsWhatRoundedSumsLose) {
  EXPECT_EQ(exact_sum({1e308, 1.0, -1e308}), 1.0);
  EXPECT_EQ(exact_sum({1e308, 1e308, 5e-324, -1e308, -1e308}), 5e-324);
  EXPECT_EQ(exact_sum({1.0, 0x1p-53, 0x1p-106}), 1.0 + 0x1p-52);
  EXPECT_EQ(exact_sum({-1.0, -0x1p-53, -0x1p-106}), -1.0 - 0x1p-52);
  EXPECT_EQ(exact_sum({1.0, 0x1p-53}), 1.0);  // a tie goes to even
  EXPECT_EQ(exact_sum({1.0 + 0x1p-52, 0x1p-53}), 1.0 + 0x1p-51);
  EXPECT_EQ(exact_sum({3.0, -3.0}), 0.0);
  EXPECT_EQ(exact_sum({}), 0.0);
}

TEST(ExactSum, OverflowsOnlyAtTheEnd) {
  const double largest = std::numeric_limits<double>::max();
  EXPECT_EQ(exact_sum({largest, largest}), kInfinity);
  EXPECT_EQ(exact_sum({largest, largest, -largest}), largest);
  EXPECT_EQ(exact_sum({-largest, -largest}), -kInfinity);
}

TEST(ExactSum, InfinitiesAndNansAreTakenAlong) {
  EXPECT_EQ(exact_sum({1.0, kInfinity, -5.0}), kInfinity);
  EXPECT_EQ(exact_sum({-kInfinity, 1e300}), -kInfinity);
  EXPECT_TRUE(std::isnan(exact_sum({kInfinity, -kInfinity})));
  EXPECT_TRUE(std::isnan(exact_sum({1.0, std::nan("")})));
}

TEST(ExactSum, WordsOfManyRanksAddUp) {
  // A million ranks, all with the same sum: its words times 2^20 must be the words of 2^20 such sums.
  ExactSum sum;
  for (const double term : {1e100, -3.7e99, 1.25e-300, -7.5}) sum.add(term);
  const double one = sum.value();
  for (int64_t& word : sum.words()) word *= int64_t{1} << 20;
  EXPECT_EQ(sum.value(), one * 0x1p20);
  sum.add(-one * 0x1p19);
  sum.add(-one * 0x1p19);
  EXPECT_LT(std::abs(sum.value()), one * 1e-9);
}

TEST(ExactSum, TermsFormedElsewhereAddUp) {
  std::mt19937_64 random(3);
  std::vector<double> terms = {0.0, -0.0, 5e-324, -1e308, 1e308};
  for (int i = 0; i < 1000; ++i) terms.push_back(random_double(random, -1074, 1000));
  std::array<int64_t, ExactSum::kWords> words{};
  for (const double x : terms) {
    const ExactSum::Term term = ExactSum::term(x);
    for (size_t i = 0; i < term.parts.size(); ++i) words[term.first_word + i] += term.parts[i];
  }
  ExactSum sum;
  sum.add(-3.5);
  sum.add_words(words);
  terms.push_back(-3.5);
  EXPECT_EQ(sum.value(), exact_sum(terms));
}

TEST(ExactSum, ManyLargeTermsFormedElsewhereDoNotOverflow) {
  // 2^30 times the double whose parts are largest.
  const double x = 0x1.fffffffffffffp0;
  const ExactSum::Term term = ExactSum::term(x);
  std::array<int64_t, ExactSum::kWords> words{};
  for (size_t i = 0; i < term.parts.size(); ++i) words[term.first_word + i] = term.parts[i] << 30;
  ExactSum sum;
  for (int i = 0; i < 4; ++i) sum.add_words(words);
  EXPECT_EQ(sum.value(), x * 0x1p32);
}

}  // namespace
}  // namespace trident
