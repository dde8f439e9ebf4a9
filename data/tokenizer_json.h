#pragma once

#include <memory>
#include <string>

#include "data/tokenizer.h"

namespace trident {

/// Hugging Face's tokenizer.json, as far as it is byte-level BPE. Ids are those of the `tokenizers` library without
/// special tokens added (the post-processor, truncation and padding play no part); anything that would change them
/// and is not supported is refused by name. tokenizer_config.json beside it names the end and begin of document.
std::unique_ptr<Tokenizer> load_tokenizer_json(const std::string& path);

/// The same from memory; `name` stands for the file in errors.
std::unique_ptr<Tokenizer> parse_tokenizer_json(const std::string& text, const std::string& name);

}  // namespace trident
