#pragma once

#include <string>

#include "launch/status/run_status.h"

namespace trident {

/// `/metrics`: Prometheus's text format 0.0.4, its names in docs/monitoring.md. What is not known is left out.
[[nodiscard]] std::string exposition(const RunStatus& status);

}  // namespace trident
