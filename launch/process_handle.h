#pragma once

#include <sys/types.h>

#include "launch/unique_descriptor.h"

namespace trident {

/// A descriptor that means this very process, even after its number is given to another; readable once it has ended.
/// Closed where there is none.
[[nodiscard]] UniqueDescriptor open_process(pid_t process);

/// No failure where the process has ended.
void send_signal(const UniqueDescriptor& process, int signal);

}  // namespace trident
