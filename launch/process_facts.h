#pragma once

#include <sys/types.h>

#include <cstdint>

namespace trident {

/// Whether a signal has stopped the process (SIGSTOP); false where it is gone, and while a debugger holds it.
[[nodiscard]] bool is_stopped(pid_t process);

/// 0 where it is gone.
[[nodiscard]] pid_t parent_of(pid_t process);

/// Processes of this process's control group that the kernel has killed for want of memory so far; 0 where it does not
/// say.
[[nodiscard]] int64_t kernel_kills();

}  // namespace trident
