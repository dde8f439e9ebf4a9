#pragma once

#include <cstdint>

namespace trident {

/// A pseudorandom permutation of [0, size), computed element by element in constant memory: a pure function of
/// (seed, stream, epoch), so no shuffled index is ever stored.
///
/// An alternating Feistel network on ceil(log2 size) bits with Philox as its round function, and cycle walking for what
/// lies beyond `size`: fewer than two walks on average (Black and Rogaway, "Ciphers with arbitrary finite domains",
/// CT-RSA 2002, section 5 and 3).
class Permutation {
 public:
  /// `size` is 1 to 2^62. `stream` tells data sets of one job apart, so that copies of a set are not in step.
  Permutation(int64_t size, uint64_t seed, uint64_t stream, uint64_t epoch);

  /// Where element `index` of [0, size) goes.
  int64_t operator()(int64_t index) const;

 private:
  uint64_t encrypt(uint64_t value) const;
  uint64_t round_bits(uint32_t round, uint64_t half) const;

  uint64_t size_;
  uint64_t seed_;
  uint64_t stream_;
  uint64_t epoch_;
  int left_bits_;
  int right_bits_;
};

}  // namespace trident
