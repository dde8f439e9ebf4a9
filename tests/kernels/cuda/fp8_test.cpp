#include "kernels/cuda/fp8.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <set>

#include "tests/kernels/cuda/fp8_values.h"

// None of it needs a GPU.

namespace trident::testing {
namespace {

namespace tile = cuda::fp8_tile;

std::vector<double> finite_values(Fp8Format format) {
  std::vector<double> values;
  for (int byte = 0; byte <= largest_fp8(format); ++byte) values.push_back(fp8_value(format, byte));
  return values;
}

/// The nearest byte by looking at all of them; of two, the one with an even mantissa; beyond the largest, that.
int nearest_byte(Fp8Format format, double value) {
  static const std::vector<double> e4m3 = finite_values(Fp8Format::e4m3), e5m2 = finite_values(Fp8Format::e5m2);
  const std::vector<double>& candidates = format == Fp8Format::e4m3 ? e4m3 : e5m2;
  const double magnitude = std::min(std::abs(value), candidates.back());
  int best = 0;
  double distance = HUGE_VAL;
  for (int byte = 0; byte <= largest_fp8(format); ++byte) {
    const double apart = std::abs(candidates[static_cast<size_t>(byte)] - magnitude);
    if (apart < distance || (apart == distance && byte % 2 == 0)) best = byte, distance = apart;
  }
  return std::signbit(value) ? best | 0x80 : best;
}

int rounded(Fp8Format format, float value) {
  return (format == Fp8Format::e4m3 ? cuda::fp8_pair<Fp8Format::e4m3>(value, 0)
                                    : cuda::fp8_pair<Fp8Format::e5m2>(value, 0)) &
         0xff;
}

TEST(Fp8, EveryBf16RoundsToTheNearest) {
  for (const Fp8Format format : kFp8Formats) {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      const float value = as_float(static_cast<uint16_t>(bits));
      if (std::isnan(value))
        EXPECT_TRUE(std::isnan(fp8_value(format, rounded(format, value)))) << bits;
      else
        ASSERT_EQ(rounded(format, value), nearest_byte(format, static_cast<double>(value))) << value;
    }
  }
}

TEST(Fp8, TiesGoToEvenAndTheirNeighboursDoNot) {
  for (const Fp8Format format : kFp8Formats) {
    for (int byte = 0; byte < largest_fp8(format); ++byte) {
      const auto middle = static_cast<float>((fp8_value(format, byte) + fp8_value(format, byte + 1)) / 2);
      for (const float value : {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, HUGE_VALF)}) {
        EXPECT_EQ(rounded(format, value), nearest_byte(format, static_cast<double>(value))) << value;
        EXPECT_EQ(rounded(format, -value), nearest_byte(format, static_cast<double>(-value))) << -value;
      }
    }
  }
}

TEST(Fp8, APairsFirstValueIsTheLowerByte) {
  EXPECT_EQ(cuda::fp8_pair<Fp8Format::e4m3>(1.0f, -448.0f), 0xfe38);
  EXPECT_EQ(cuda::fp8_pair<Fp8Format::e5m2>(-57344.0f, 1.0f), 0x3cfb);
}

TEST(Fp8, ScalesFillTheRange) {
  for (const Fp8Format format : kFp8Formats) {
    const double limit = fp8_value(format, largest_fp8(format));
    for (uint32_t largest = 1; largest < cuda::kBf16Infinity; ++largest) {
      const double value = static_cast<double>(as_float(static_cast<uint16_t>(largest)));
      const double scale = static_cast<double>(cuda::fp8_scale(largest, format));
      ASSERT_LE(value * scale, limit) << value;
      // At 2^126 the scale and its inverse are as far apart as floats go.
      ASSERT_TRUE(2 * value * scale > limit || scale == std::ldexp(1.0, 126)) << value;
      ASSERT_EQ(scale * static_cast<double>(cuda::fp8_inverse(largest, format)), 1.0) << value;
      ASSERT_EQ(std::exp2(std::floor(std::log2(scale))), scale) << value;
    }
    EXPECT_EQ(cuda::fp8_scale(0, format), 1.0f);
    EXPECT_EQ(cuda::fp8_inverse(0, format), 1.0f);
    for (const uint32_t bits : {0x7f80u, 0x7f81u, 0x7fffu}) EXPECT_TRUE(std::isnan(cuda::fp8_inverse(bits, format)));
  }
}

TEST(Fp8, ValuesComeBackWithinHalfAStep) {
  const Tensor x = random_tensor({64, 64}, DType::bf16, 3);
  for (const Fp8Format format : kFp8Formats) {
    const double step = format == Fp8Format::e4m3 ? 1.0 / 16 : 1.0 / 8;
    const Tensor back = dequantized(x, format);
    for (int64_t i = 0; i < x.elements(); ++i) {
      // Below the normal values, 2^-14 and 2^-29 of the largest, steps grow no finer.
      EXPECT_LE(std::abs(get(back, i) - get(x, i)), step * std::max(std::abs(get(x, i)), 1e-4)) << get(x, i);
    }
  }
}

std::vector<int> all_threads() {
  std::vector<int> threads(tile::kThreads);
  std::iota(threads.begin(), threads.end(), 0);
  return threads;
}

/// Any byte of a tile that tells its place from its neighbours'.
uint8_t mark(int row, int column) { return static_cast<uint8_t>(row * 7 + column * 31); }

TEST(Fp8Tile, IsTransposed) {
  std::array<uint32_t, tile::kWords> words{};
  std::multiset<int> written;
  for (const int thread : all_threads()) {
    const int row = tile::thread_row(thread), column = tile::thread_column(thread);
    for (int i = 0; i < tile::kThreadColumns; i += 4) {
      uint32_t rows[tile::kThreadRows] = {};
      for (int r = 0; r < tile::kThreadRows; ++r)
        for (int c = 0; c < 4; ++c) rows[r] |= uint32_t{mark(row + r, column + i + c)} << 8 * c;
      for (int c = 0; c < 4; ++c) {
        const int place = tile::word_place(row, column + i + c);
        words.at(static_cast<size_t>(place)) = tile::column_word(rows, c);
        written.insert(place);
      }
    }
  }
  EXPECT_EQ(written.size(), words.size());
  EXPECT_EQ(std::set<int>(written.begin(), written.end()).size(), words.size());
  std::set<std::pair<int, int>> read;
  for (int chunk = 0; chunk < tile::kChunks; ++chunk) {
    const int row = tile::chunk_row(chunk), column = tile::chunk_column(chunk);
    const int place = tile::word_place(row, column);
    EXPECT_EQ(place % 4, 0);  // of 16 bytes
    EXPECT_TRUE(read.insert({row, column}).second);
    for (int i = 0; i < tile::kChunkRows; ++i) {
      const int word_of_row = place + i / 4;
      const uint32_t word = words.at(static_cast<size_t>(word_of_row));
      ASSERT_EQ(word >> 8 * (i % 4) & 0xff, mark(row + i, column)) << row + i << ", " << column;
    }
  }
}

TEST(Fp8Tile, BanksDoNotCollide) {
  for (int first = 0; first < tile::kThreads; first += 32) {
    for (int i = 0; i < tile::kThreadColumns; ++i) {
      std::set<int> banks;
      for (int thread = first; thread < first + 32; ++thread)
        banks.insert(tile::word_place(tile::thread_row(thread), tile::thread_column(thread) + i) % 32);
      EXPECT_EQ(banks.size(), 32u);
    }
  }
  for (int first = 0; first < tile::kChunks; first += 8) {  // eight lanes are served at once
    std::set<int> banks;
    for (int chunk = first; chunk < first + 8; ++chunk)
      banks.insert(tile::word_place(tile::chunk_row(chunk), tile::chunk_column(chunk)) / 4 % 8);
    EXPECT_EQ(banks.size(), 8u);
  }
}

}  // namespace
}  // namespace trident::testing
