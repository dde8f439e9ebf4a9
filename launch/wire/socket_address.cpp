#include "launch/wire/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "core/error.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/wire";

const sockaddr_in& as_v4(const sockaddr_storage& storage) { return reinterpret_cast<const sockaddr_in&>(storage); }
const sockaddr_in6& as_v6(const sockaddr_storage& storage) { return reinterpret_cast<const sockaddr_in6&>(storage); }

}  // namespace

SocketAddress SocketAddress::parse(const std::string& address, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || found == nullptr)
    throw Error(ErrorCode::config, kComponent, "'" + address + "' is no numeric IPv4 or IPv6 address",
                "ip -brief address lists those of this machine");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  SocketAddress result;
  result.size = found->ai_addrlen;
  std::memcpy(&result.storage, found->ai_addr, found->ai_addrlen);
  return result;
}

SocketAddress SocketAddress::of_socket(int descriptor) {
  SocketAddress result;
  result.size = sizeof(result.storage);
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&result.storage), &result.size) != 0)
    throw system_error(errno, kComponent, "cannot tell a socket's address");
  return result;
}

uint16_t SocketAddress::port() const {
  return ntohs(family() == AF_INET ? as_v4(storage).sin_port : as_v6(storage).sin6_port);
}

bool SocketAddress::is_wildcard() const {
  if (family() == AF_INET) return as_v4(storage).sin_addr.s_addr == htonl(INADDR_ANY);
  const in6_addr& address = as_v6(storage).sin6_addr;
  const bool mapped_any = IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr32[3] == htonl(INADDR_ANY);
  return IN6_IS_ADDR_UNSPECIFIED(&address) || mapped_any;
}

}  // namespace trident
