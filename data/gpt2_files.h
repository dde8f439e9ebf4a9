#pragma once

#include <memory>
#include <optional>
#include <string>

#include "data/tokenizer.h"

namespace trident {

/// GPT-2's two files: the merges (vocab.bpe or merges.txt) and the ids (encoder.json or vocab.json).
struct Gpt2Files {
  std::string merges;
  std::string ids;
};

/// The pair in a folder, or the pair that a file belongs to; nullopt where there is none.
std::optional<Gpt2Files> find_gpt2_files(const std::string& folder_or_file);

/// GPT-2's encoder: its split pattern, and no special tokens in text ("<|endoftext|>" there is plain text).
/// Throws Error with file and line, or JSON path.
std::unique_ptr<Tokenizer> load_gpt2_files(const Gpt2Files& files);

}  // namespace trident
