#include "launch/crash_handler.h"

#include <execinfo.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

#include "launch/heartbeat.h"

namespace trident {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr size_t kStackBytes = size_t{64} << 10;

std::atomic<Heartbeat*> told{nullptr};
alignas(16) std::array<std::byte, kStackBytes> handler_stack;

void handle(int signal) {
  if (Heartbeat* heartbeat = told.exchange(nullptr)) {
    heartbeat->crashed(signal);
    std::array<void*, 64> frames{};
    const int depth = backtrace(frames.data(), static_cast<int>(frames.size()));
    backtrace_symbols_fd(frames.data(), depth, STDERR_FILENO);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

CrashHandler::CrashHandler(Heartbeat& heartbeat) {
  std::array<void*, 1> frame{};
  (void)backtrace(frame.data(), 1);  // loads what it needs, which a handler must not
  told = &heartbeat;
  // Kernels that oneDNN generates use the stack pointer for data: a handler needs a stack of its own.
  stack_t stack{};
  stack.ss_sp = handler_stack.data();
  stack.ss_size = handler_stack.size();
  sigaltstack(&stack, nullptr);
  for (const int signal : kSignals) {
    struct sigaction action {};
    action.sa_handler = handle;
    action.sa_flags = static_cast<int>(SA_ONSTACK | SA_NODEFER);
    sigaction(signal, &action, nullptr);
  }
}

CrashHandler::~CrashHandler() { told = nullptr; }

}  // namespace trident
