#include "core/philox.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cmath>
#include <numbers>

namespace trident {
namespace {

// Four normals from four words: two Box-Muller pairs. The radius' uniform is in (0, 1], so that its logarithm is
// finite.
std::array<float, 4> normals_of(const std::array<uint32_t, 4>& words) {
  constexpr float kScale = 0x1.0p-24f;
  std::array<float, 4> normals{};
  for (size_t pair = 0; pair < 2; ++pair) {
    const float radius_uniform = static_cast<float>((words[2 * pair] >> 8) + 1) * kScale;
    const float angle_uniform = static_cast<float>(words[2 * pair + 1] >> 8) * kScale;
    const float radius = std::sqrt(-2.0f * std::log(radius_uniform));
    const float angle = 2.0f * std::numbers::pi_v<float> * angle_uniform;
    normals[2 * pair] = radius * std::cos(angle);
    normals[2 * pair + 1] = radius * std::sin(angle);
  }
  return normals;
}

}  // namespace

RandomStream::RandomStream(uint64_t seed, std::string_view name)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
      name_hash_(XXH3_64bits(name.data(), name.size())) {}

std::array<uint32_t, 4> RandomStream::block(uint64_t block) const {
  return philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                     static_cast<uint32_t>(name_hash_), static_cast<uint32_t>(name_hash_ >> 32)},
                    key_);
}

double RandomStream::uniform(uint64_t index) const {
  const auto words = block(index / 2);
  const size_t half = 2 * (index % 2);
  const uint64_t bits = (uint64_t{words[half]} << 32 | words[half + 1]) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

void RandomStream::normal(uint64_t first, std::span<float> out) const {
  uint64_t index = first;
  for (size_t done = 0; done < out.size();) {
    const auto normals = normals_of(block(index / 4));
    for (size_t lane = index % 4; lane < 4 && done < out.size(); ++lane, ++index) out[done++] = normals[lane];
  }
}

}  // namespace trident
