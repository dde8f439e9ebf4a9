#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace trident::json_fields {

/// The field of an object, where it is there and of that kind.
std::string text(const nlohmann::json& object, const char* key);
std::optional<std::int64_t> integer(const nlohmann::json& object, const char* key);
/// False where it is not there.
bool flag(const nlohmann::json& object, const char* key);
double number(const nlohmann::json& object, const char* key, double otherwise);

}  // namespace trident::json_fields
