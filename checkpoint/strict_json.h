#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace trident {

/// Parses JSON that others wrote: refuses duplicate keys, bytes after the end, NUL bytes and nesting beyond
/// `max_depth`. Errors start with `source` and give the byte.
[[nodiscard]] nlohmann::json parse_strict_json(std::string_view text, const std::string& source, int max_depth = 32);

/// The same for a file of at most `max_bytes`.
[[nodiscard]] nlohmann::json read_json_file(const std::filesystem::path& path, size_t max_bytes);

}  // namespace trident
