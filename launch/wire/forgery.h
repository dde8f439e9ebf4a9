#pragma once

#include <cstdint>
#include <string>

namespace trident {

/// Connections that a listener must refuse, for tests: bytes that are no greeting, a frame that another secret has
/// signed, and one that says to be too long. Never waits for longer than a moment, and passes over what fails.
void send_forgeries(const std::string& address, uint16_t port, int64_t seed);

/// How many it refuses of them.
inline constexpr int kForgeries = 3;

}  // namespace trident
