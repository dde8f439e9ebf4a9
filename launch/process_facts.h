#pragma once

#include <sys/types.h>

namespace trident {

/// Whether a signal has stopped the process (SIGSTOP); false where it is gone, and while a debugger holds it.
[[nodiscard]] bool is_stopped(pid_t process);

/// 0 where it is gone.
[[nodiscard]] pid_t parent_of(pid_t process);

}  // namespace trident
