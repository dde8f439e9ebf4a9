#pragma once

#include <string>

namespace trident {

/// Version, compiler and what this build was made with, one feature a line.
[[nodiscard]] std::string version_text();

}  // namespace trident
