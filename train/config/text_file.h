#pragma once

#include <string>

namespace trident::config {

/// The text of a file that a person wrote, at most 1 MiB. `kind` and `remedy` stand in the Error of one that cannot be
/// read: "cannot read job file x.yaml".
[[nodiscard]] std::string read_text_file(const std::string& path, const std::string& kind, const std::string& remedy);

}  // namespace trident::config
