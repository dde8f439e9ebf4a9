#pragma once

#include <string>

#include "data/json_node.h"
#include "data/pre_tokenizer.h"
#include "data/unicode_normalizer.h"

namespace trident {

/// tokenizer.json's "normalizer": null, NFC, NFD, NFKC, NFKD, or a Sequence of these.
UnicodeNormalizer read_normalizer(const JsonNode& node);

/// tokenizer.json's "pre_tokenizer": ByteLevel, alone or in a Sequence with Split, Digits, Punctuation and
/// WhitespaceSplit. `text` spells out what was read.
PreTokenizer read_pre_tokenizer(const JsonNode& node, std::string& text);

/// Refuses a "post_processor" or "decoder" that is none of those known to go with byte-level BPE.
void check_post_processor(const JsonNode& node);
void check_decoder(const JsonNode& node);

}  // namespace trident
