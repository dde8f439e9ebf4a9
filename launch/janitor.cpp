#include "launch/janitor.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "core/error.h"

namespace trident {
namespace {

constexpr std::chrono::milliseconds kDying{300};

[[noreturn]] void clean_after(const JobPlace& place, int pipe) {
  setsid();
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  char word = 0;
  ssize_t got = -1;
  while ((got = ::read(pipe, &word, 1)) < 0 && errno == EINTR) continue;
  if (got == 0) {
    place.remove();
    std::this_thread::sleep_for(kDying);  // what a rank was just making
    place.remove();
  }
  std::_Exit(0);
}

}  // namespace

Janitor::Janitor(const JobPlace& place) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw system_error(errno, "launch/janitor", "cannot make a pipe");
  UniqueDescriptor read_end(ends[0]);
  pipe_ = UniqueDescriptor(ends[1]);
  process_ = ::fork();
  if (process_ < 0) throw system_error(errno, "launch/janitor", "cannot fork");
  if (process_ > 0) return;
  pipe_.reset();
  clean_after(place, read_end.get());
}

Janitor::~Janitor() {
  const char word = 'x';
  if (::write(pipe_.get(), &word, 1) == 1) pipe_.reset();
  (void)::waitpid(process_, nullptr, 0);
}

}  // namespace trident
