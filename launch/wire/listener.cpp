#include "launch/wire/listener.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "core/error.h"
#include "launch/wire/socket_address.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/wire";

UniqueDescriptor listen_at(const std::string& text, uint16_t port) {
  const SocketAddress address = SocketAddress::parse(text, port);
  if (address.is_wildcard())
    throw Error(ErrorCode::config, kComponent, "'" + text + "' stands for every interface of this machine",
                "name the address of the cluster's interface, or 127.0.0.1");
  UniqueDescriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (!socket.is_open() || ::bind(socket.get(), address.get(), address.size) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0)
    throw system_error(errno, kComponent, fmt::format("cannot listen at {} port {}", text, port),
                       "ip -brief address lists the addresses of this machine, ss -ltn the ports in use");
  return socket;
}

}  // namespace

WireListener::WireListener(WireListenerOptions options, JobSecret secret)
    : options_(std::move(options)),
      secret_(std::move(secret)),
      socket_(listen_at(options_.address, options_.port)),
      events_(::epoll_create1(EPOLL_CLOEXEC)),
      port_(SocketAddress::of_socket(socket_.get()).port()) {
  if (!events_.is_open()) throw system_error(errno, kComponent, "cannot watch sockets");
  watch(EPOLL_CTL_ADD, socket_.get(), true);
}

std::vector<WireLink> WireListener::accept() {
  std::vector<WireLink> done;
  if (!lets_in()) return done;
  advance(0, done);
  // Where there is no room (or no descriptor) for more, who waits in the kernel's queue must not wake the caller.
  Next next = Next::no_room;
  while (half_open_.size() < options_.half_open && (next = accept_one()) == Next::came)
    advance(half_open_.size() - 1, done);
  watch(EPOLL_CTL_MOD, socket_.get(), next == Next::none);
  return done;
}

// Moves the handshakes on, from this one.
void WireListener::advance(size_t from, std::vector<WireLink>& done) {
  for (size_t i = from; i < half_open_.size();) {
    WireLink& link = half_open_[i];
    link.shake_hands();
    if (!link.established() && !link.closed()) {
      ++i;
      continue;
    }
    if (link.closed()) {
      counters_ += link.counters();
    } else {
      watch(EPOLL_CTL_DEL, link.socket_.get(), false);
      done.push_back(std::move(link));
    }
    half_open_.erase(half_open_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

WireListener::Next WireListener::accept_one() {
  int descriptor = -1;
  do descriptor = ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (descriptor < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (descriptor < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Next::none : Next::no_room;
  watch(EPOLL_CTL_ADD, descriptor, true);
  const auto deadline = WireLink::Clock::now() + options_.handshake;
  half_open_.push_back(WireLink(UniqueDescriptor(descriptor), WireRole::listener, secret_, deadline, options_.cable));
  return Next::came;
}

void WireListener::watch(int operation, int descriptor, bool readable) const {
  epoll_event event{};
  event.events = readable ? EPOLLIN : 0U;
  event.data.fd = descriptor;
  (void)::epoll_ctl(events_.get(), operation, descriptor, &event);
}

}  // namespace trident
