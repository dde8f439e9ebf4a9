#include "launch/wire/forgery.h"

#include <poll.h>
#include <sys/socket.h>

#include <limits>

#include "core/philox.h"
#include "launch/unique_descriptor.h"
#include "launch/wire/bytes.h"
#include "launch/wire/frame.h"
#include "launch/wire/link.h"
#include "launch/wire/socket_address.h"

namespace trident {
namespace {

constexpr int kMomentMs = 100;

void say(const std::string& address, uint16_t port, const std::string& bytes) {
  const SocketAddress to = SocketAddress::parse(address, port);
  const UniqueDescriptor socket(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  (void)::connect(socket.get(), to.get(), to.size);
  pollfd event{socket.get(), POLLOUT, 0};
  if (::poll(&event, 1, kMomentMs) > 0) (void)::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

std::string noise(int64_t seed) {
  ByteWriter bytes;
  const RandomStream stream(static_cast<uint64_t>(seed), "forged frames");
  for (uint64_t i = 0; i < 16; ++i) {
    for (const uint32_t word : stream.block(i)) bytes.number(word);
  }
  return bytes.take();
}

}  // namespace

void send_forgeries(const std::string& address, uint16_t port, int64_t seed) {
  const WireNonce nonce = random_nonce();
  const std::string greeting = wire_greeting(WireRole::connector, nonce);
  const SecretKey key = frame_key(JobSecret::generate(), WireRole::connector, nonce, random_nonce());
  const std::string forged = FrameWriter(key).write(Frame{});
  std::string too_long = forged;
  too_long.replace(8, 4, ByteWriter().number(std::numeric_limits<uint32_t>::max()).take());
  say(address, port, noise(seed));
  say(address, port, greeting + forged);
  say(address, port, greeting + too_long);
}

}  // namespace trident
