#include "launch/signals.h"

#include <csignal>

namespace trident {
namespace {

// A signal handler reaches nothing but globals.
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

constexpr int kSignals[] = {SIGTERM, SIGUSR1, SIGUSR2, SIGINT};

void on_signal(int signal) {
  if (signal == SIGINT && stop_requested.load()) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  stop_requested.store(true);
}

void set_handlers(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested = false;
  set_handlers(on_signal);
}

StopSignals::~StopSignals() { set_handlers(SIG_DFL); }

const std::atomic<bool>& StopSignals::requested() const { return stop_requested; }

}  // namespace trident
