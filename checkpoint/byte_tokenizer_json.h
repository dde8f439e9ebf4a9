#pragma once

#include <string>

namespace trident {

/// tokenizer.json of the byte tokenizer: a byte-level BPE of 256 single-byte tokens without merges, whose ids are the
/// byte values.
[[nodiscard]] std::string byte_tokenizer_json();

}  // namespace trident
