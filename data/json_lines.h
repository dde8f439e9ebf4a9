#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace trident {

/// Where some lines of a JSONL file stand and which of their strings counts.
struct JsonLinesSource {
  std::string file;
  int64_t first_line = 1;
  std::string key = "text";
};

/// Calls `document` with the string under the key of every line of `lines`; blank lines are passed over. `lines` is
/// padded for the parser. Throws Error with file:line and reason where a line is no JSON object or lacks the string.
void for_each_json_line(std::string& lines, const JsonLinesSource& source,
                        const std::function<void(std::string_view)>& document);

}  // namespace trident
