#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/manifest.h"

namespace trident {

/// A manifest's text, parsed and not yet understood.
struct ManifestJson {                          // NOLINT(bugprone-exception-escape): destroying JSON allocates
  nlohmann::json document;                     ///< an empty list in the place of each rank file's segments
  std::vector<std::vector<Segment>> segments;  ///< of rank_files[i]; numbers are not negative, else unchecked
};

/// Segments are nearly all of a large manifest: they go straight to their form in memory. Refuses duplicate keys,
/// nesting, bytes after the end, and more values than Manifest allows, so that memory is bounded whatever the text
/// tries. Throws Error(bad_data) starting with `source`; NewerFormat as soon as it meets a min_reader that is too new.
[[nodiscard]] ManifestJson parse_manifest_json(std::string_view text, const std::string& source);

}  // namespace trident
