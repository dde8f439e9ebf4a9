#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace trident {

/// A numeric IPv4 or IPv6 address and a TCP port, as the kernel wants them. Names are never looked up: that may wait.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  /// Throws Error(config) for anything else.
  static SocketAddress parse(const std::string& address, uint16_t port);
  /// The one that a socket is bound to. Throws Error(io).
  static SocketAddress of_socket(int descriptor);

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] uint16_t port() const;
  /// It stands for all interfaces at once.
  [[nodiscard]] bool is_wildcard() const;
};

}  // namespace trident
