#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trident {

/// "1,2 3" as numbers. Throws Error(ErrorCode::usage) naming the word that is none.
[[nodiscard]] std::vector<int32_t> parse_token_ids(const std::string& text);

}  // namespace trident
