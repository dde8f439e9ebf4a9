#pragma once

#include <cstdint>
#include <string>

namespace trident {

/// The whole of a regular file. Throws Error where it is missing, unreadable or larger than `limit` bytes.
std::string read_text_file(const std::string& path, uint64_t limit);

}  // namespace trident
