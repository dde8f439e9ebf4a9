#pragma once

#include <optional>
#include <string_view>

namespace trident::config {

/// A key of another trainer and what it is called here.
struct ForeignName {
  std::string_view name;    ///< lower case, words joined by '_'
  std::string_view owner;   ///< "Megatron-LM"
  std::string_view here;    ///< "parallelism.tp"; empty where `advice` says all
  std::string_view advice;  ///< what differs, where the meaning is not the same
};

/// Looks `key` up, whatever its case, dashes and leading dashes.
std::optional<ForeignName> find_foreign_name(std::string_view key);

}  // namespace trident::config
