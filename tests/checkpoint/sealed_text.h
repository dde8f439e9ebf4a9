#pragma once

#include <span>
#include <string>
#include <string_view>

#include "checkpoint/file_hash.h"
#include "core/error.h"

namespace trident::testing {

/// A manifest's text without its last brace, ended with its right hash: what one who means harm would write.
inline std::string sealed(std::string text) {
  text += ",\"hash\":\"";
  return text + to_hex(hash_bytes(text)) + "\"}\n";
}

/// `from` replaced where it first stands in a sealed text, which is sealed again.
inline std::string changed(std::string text, std::string_view from, std::string_view to) {
  text.resize(text.rfind(",\"hash\":\""));
  const size_t at = text.find(from);
  TRIDENT_CHECK(at != std::string::npos, std::string(from));
  return sealed(text.replace(at, from.size(), to));
}

}  // namespace trident::testing
