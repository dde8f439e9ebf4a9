#include "launch/process_handle.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace trident {

// The system calls themselves: the header of glibc 2.36 declares its wrappers without C linkage.
UniqueDescriptor open_process(pid_t process) {
  return UniqueDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
}

void send_signal(const UniqueDescriptor& process, int signal) {
  (void)::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0);
}

}  // namespace trident
