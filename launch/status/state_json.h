#pragma once

#include <string>

#include "launch/status/run_status.h"

namespace trident {

/// `/api/state`: one JSON object, its keys in docs/monitoring.md. Numbers that are not known are null.
[[nodiscard]] std::string state_json(const RunStatus& status);

}  // namespace trident
