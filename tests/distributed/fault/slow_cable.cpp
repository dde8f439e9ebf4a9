// A cable between two network namespaces that is slow and loses frames, for machines whose kernel has no netem: a tap
// device in each, and every frame that comes out of one goes into the other after a while, or never.
//   slow_cable NETNS DEVICE NETNS DEVICE DELAY_MS LOSS_PERCENT SEED
// DELAY_MS is of one direction. Says "ready" once both devices are there; ends when it is killed.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <system_error>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

/// A tap device that is in that namespace and whose frames are read and written here.
int open_tap(const std::string& netns, const std::string& device) {
  const int space = checked(::open(("/run/netns/" + netns).c_str(), O_RDONLY | O_CLOEXEC), netns.c_str());
  checked(::setns(space, CLONE_NEWNET), "setns");
  ::close(space);
  const int tap = checked(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), "/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  checked(::ioctl(tap, TUNSETIFF, &request), "TUNSETIFF");
  return tap;
}

/// One direction.
class Wire {
 public:
  Wire(int from, int to, Clock::duration delay, double loss, unsigned seed)
      : from_(from), to_(to), delay_(delay), lost_(loss), random_(seed) {}

  void take() {
    std::array<char, 65536> frame{};
    for (ssize_t size = 0; (size = ::read(from_, frame.data(), frame.size())) > 0;) {
      if (!lost_(random_)) on_its_way_.push_back({Clock::now() + delay_, {frame.data(), static_cast<size_t>(size)}});
    }
  }
  // A device that is down takes nothing, as a cable that is unplugged.
  void deliver() {
    for (; !on_its_way_.empty() && on_its_way_.front().due <= Clock::now(); on_its_way_.pop_front())
      (void)!::write(to_, on_its_way_.front().bytes.data(), on_its_way_.front().bytes.size());
  }
  [[nodiscard]] int patience() const {
    if (on_its_way_.empty()) return 1000;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(on_its_way_.front().due - Clock::now()).count();
    return static_cast<int>(std::clamp<int64_t>(left, 0, 1000));
  }

 private:
  struct Frame {
    Clock::time_point due;
    std::string bytes;
  };
  int from_, to_;
  Clock::duration delay_;
  std::bernoulli_distribution lost_;
  std::mt19937 random_;
  std::deque<Frame> on_its_way_;
};

[[noreturn]] void run(char** words) {
  const int one = open_tap(words[1], words[2]), other = open_tap(words[3], words[4]);
  const std::chrono::milliseconds delay(std::atoi(words[5]));
  const double loss = std::atof(words[6]) / 100;
  const auto seed = static_cast<unsigned>(std::atoi(words[7]));
  std::array wires{Wire(one, other, delay, loss, seed), Wire(other, one, delay, loss, seed + 1)};
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    std::array<pollfd, 2> events{{{one, POLLIN, 0}, {other, POLLIN, 0}}};
    (void)::poll(events.data(), events.size(), std::min(wires[0].patience(), wires[1].patience()));
    for (Wire& wire : wires) {
      wire.take();
      wire.deliver();
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fputs("usage: slow_cable NETNS DEVICE NETNS DEVICE DELAY_MS LOSS_PERCENT SEED\n", stderr);
    return 64;
  }
  try {
    run(argv);
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "slow_cable: %s\n", error.what());
    return 69;
  }
}
