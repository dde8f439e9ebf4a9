#include "data/digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>

#include "core/error.h"

namespace trident {

void Digest::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Digest::Digest() : state_(XXH3_createState()) {
  TRIDENT_CHECK(state_ != nullptr, "out of memory");
  XXH3_128bits_reset(state_.get());
}

Digest& Digest::add(std::string_view field) {
  add(static_cast<int64_t>(field.size()));
  XXH3_128bits_update(state_.get(), field.data(), field.size());
  return *this;
}

Digest& Digest::add(int64_t value) {
  std::array<unsigned char, 8> little_endian{};
  for (size_t i = 0; i < 8; ++i) {
    little_endian[i] = static_cast<unsigned char>((static_cast<uint64_t>(value) >> (8 * i)) & 0xff);
  }
  XXH3_128bits_update(state_.get(), little_endian.data(), little_endian.size());
  return *this;
}

std::string Digest::hex() const {
  const XXH128_hash_t value = XXH3_128bits_digest(state_.get());
  return fmt::format("{:016x}{:016x}", value.high64, value.low64);
}

}  // namespace trident
