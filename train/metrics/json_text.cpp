#include "train/metrics/json_text.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <iterator>

namespace trident::json_text {

void append_string(std::string& out, std::string_view text) {
  using nlohmann::json;
  out += json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

void append_number(std::string& out, double value, int digits) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), "{:.{}g}", value, digits);
  } else {
    out += "null";
  }
}

}  // namespace trident::json_text
