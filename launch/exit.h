#pragma once

#include <functional>
#include <string>

namespace trident {

/// Runs a verb; an Error becomes one line on stderr and its exit code, anything else 70.
int guarded(const std::function<int()>& verb);

}  // namespace trident
