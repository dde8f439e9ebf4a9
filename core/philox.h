#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace trident {

/// Philox 4x32 with 10 rounds: a counter-based generator, a pure function of (counter, key).
/// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC11), section 3.3.
[[nodiscard]] constexpr std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter,
                                                           std::array<uint32_t, 2> key) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
  constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

/// A stream of random numbers named by (seed, name): element i is the same whoever asks for it, in any order.
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name);

  /// Four random words for block `block`.
  [[nodiscard]] std::array<uint32_t, 4> block(uint64_t block) const;

  /// Uniform in [0, 1) with 53 bits, for element `index`.
  [[nodiscard]] double uniform(uint64_t index) const;

  /// Standard normals (Box-Muller on 24-bit uniforms, |x| < 5.8) of elements first … first + out.size() - 1.
  void normal(uint64_t first, std::span<float> out) const;

 private:
  std::array<uint32_t, 2> key_;
  uint64_t name_hash_;
};

}  // namespace trident
