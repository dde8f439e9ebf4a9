#include "launch/node_lock.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>

#include "core/error.h"

namespace trident {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kComponent = "launch/node_lock";
constexpr std::chrono::seconds kMakingWay{4};
constexpr std::chrono::milliseconds kTryAgain{20};

}  // namespace

NodeLock::NodeLock(const JobPlace& place) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = std::string(1, '\0') + "trident." + place.id();
  name.copy(address.sun_path, sizeof(address.sun_path));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const auto* const raw = reinterpret_cast<const sockaddr*>(&address);
  socket_ = UniqueDescriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  UniqueDescriptor request(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto deadline = Clock::now() + kMakingWay;
  while (::bind(socket_.get(), raw, size) != 0) {
    if (errno != EADDRINUSE || Clock::now() > deadline)
      throw system_error(errno, kComponent, "cannot become this node's agent of this run: there is another",
                         "name every machine once in the hostfile, and start a run once");
    (void)::connect(request.get(), raw, size);
    std::this_thread::sleep_for(kTryAgain);
  }
  if (::listen(socket_.get(), 1) != 0) throw system_error(errno, kComponent, "cannot listen");
}

}  // namespace trident
