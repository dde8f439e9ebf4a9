#include "checkpoint/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "core/error.h"
#include "core/mapped_file.h"

namespace trident {
namespace {

Error bad(const std::string& problem) { return {ErrorCode::bad_data, "checkpoint/json", problem}; }

}  // namespace

nlohmann::json parse_strict_json(std::string_view text, const std::string& source, int max_depth) {
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw bad(fmt::format("{}, byte {}: a NUL byte is not JSON", source, nul));
  }
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > max_depth) throw bad(fmt::format("{}: nested more than {} deep", source, max_depth));
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw bad(fmt::format("{}: key {} appears twice in one object", source, parsed.get<std::string>()));
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::parse_error& failure) {
    throw bad(fmt::format("{}, byte {}: not JSON: {}", source, failure.byte, failure.what()));
  }
}

nlohmann::json read_json_file(const std::filesystem::path& path, size_t max_bytes) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() > max_bytes) {
    throw bad(fmt::format("{}: {} bytes, expected at most {}", path.string(), bytes.size(), max_bytes));
  }
  return parse_strict_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

}  // namespace trident
