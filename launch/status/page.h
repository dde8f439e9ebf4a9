#pragma once

#include <string_view>

namespace trident {

/// The page at `/`: one HTML file that needs nothing but `/api/state`.
[[nodiscard]] std::string_view status_page();

/// The page loads nothing from elsewhere, and asks nobody but its own server.
inline constexpr const char* kStatusPagePolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace trident
