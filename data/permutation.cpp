#include "data/permutation.h"

#include <bit>

#include "core/error.h"
#include "core/philox.h"

namespace trident {
namespace {

// Even, so that the halves end in their own places. Small domains need more rounds than the usual 7 to mix well.
constexpr uint32_t rounds = 16;

constexpr uint64_t low_bits(int count) { return (uint64_t{1} << count) - 1; }

}  // namespace

Permutation::Permutation(int64_t size, uint64_t seed, uint64_t stream, uint64_t epoch)
    : size_(static_cast<uint64_t>(size)), seed_(seed), stream_(stream), epoch_(epoch) {
  TRIDENT_CHECK(size > 0 && size <= int64_t{1} << 62);
  const int bits = std::bit_width(size_ - 1);
  left_bits_ = bits / 2;
  right_bits_ = bits - left_bits_;
}

int64_t Permutation::operator()(int64_t index) const {
  TRIDENT_CHECK(index >= 0 && static_cast<uint64_t>(index) < size_);
  auto value = static_cast<uint64_t>(index);
  do {
    value = encrypt(value);
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

uint64_t Permutation::encrypt(uint64_t value) const {
  uint64_t left = value >> right_bits_;
  uint64_t right = value & low_bits(right_bits_);
  for (uint32_t round = 0; round < rounds; round += 2) {
    left ^= round_bits(round, right) & low_bits(left_bits_);
    right ^= round_bits(round + 1, left) & low_bits(right_bits_);
  }
  return left << right_bits_ | right;
}

uint64_t Permutation::round_bits(uint32_t round, uint64_t half) const {
  // A half has at most 31 bits, so the counter holds all that a round depends on, and the seed is the key.
  const auto words = philox4x32({static_cast<uint32_t>(half), round | static_cast<uint32_t>(stream_) << 8,
                                 static_cast<uint32_t>(epoch_), static_cast<uint32_t>(epoch_ >> 32)},
                                {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
  return words[0];
}

}  // namespace trident
