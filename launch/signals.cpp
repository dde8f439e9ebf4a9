#include "launch/signals.h"

namespace trident {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGUSR1, SIGUSR2, SIGINT};

[[noreturn]] void end_by_interrupt() {
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
  for (;;) std::raise(SIGINT);
}

}  // namespace

StopSignals::StopSignals() {
  sigemptyset(&signals_);
  for (const int signal : kSignals) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, &mask_before_);
  // A shell starts what runs in the background with SIGINT ignored.
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
  waiter_ = std::thread([this] { wait(); });
}

StopSignals::~StopSignals() {
  ending_ = true;
  pthread_kill(waiter_.native_handle(), SIGUSR2);
  waiter_.join();
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

void StopSignals::wait() {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0) continue;
    if (ending_) return;
    if (signal == SIGINT && requested_) end_by_interrupt();
    requested_ = true;
  }
}

}  // namespace trident
